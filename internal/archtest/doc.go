// SPDX-License-Identifier: Apache-2.0

// Package archtest holds the rules of the house as a test: which package may
// import what, which ones are pure, and a few habits that a compiler does not
// know. A new package needs a rule here before it can be built on.
package archtest
