// SPDX-License-Identifier: Apache-2.0

// Package config turns what an operator wrote into checked values: the flags
// and the environment of percaled into Settings, and the cluster's net-conf
// into a NetConf. Names and defaults are flannel's, so that an existing node is
// taken over as it is configured. What is wrong is named together with what
// would be right; nothing here is printed or logged.
package config
