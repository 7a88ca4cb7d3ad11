// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A value reads and shows one field of Settings. An error of set says what
// would be right and does not repeat the text.
type value struct {
	set    func(text string) error
	show   func() string // as it would be given; secrets hidden
	toggle bool          // the flag may stand without a value
	mute   bool          // what was given may be a secret: errors do not repeat it
}

func boolean(p *bool) value {
	return value{
		toggle: true,
		show:   func() string { return strconv.FormatBool(*p) },
		set: func(text string) error {
			b, err := strconv.ParseBool(text)
			if err != nil {
				return errors.New("want true or false")
			}
			*p = b
			return nil
		},
	}
}

func number(p *int, least, most int) value {
	return value{
		show: func() string { return strconv.Itoa(*p) },
		set: func(text string) error {
			n, err := strconv.Atoi(text)
			switch {
			case (err != nil || n < least) && most == math.MaxInt32:
				return fmt.Errorf("want a whole number, %d or more", least)
			case err != nil || n < least || n > most:
				return fmt.Errorf("want a whole number from %d to %d", least, most)
			}
			*p = n
			return nil
		},
	}
}

// span is a number of units.
func span(p *time.Duration, unit time.Duration, most int) value {
	n := int(*p / unit)
	v := number(&n, 1, most)
	set := v.set
	v.set = func(text string) error {
		if err := set(text); err != nil {
			return err
		}
		*p = time.Duration(n) * unit
		return nil
	}
	return v
}

func plain(p *string) value {
	return value{
		show: func() string { return *p },
		set:  func(text string) error { *p = text; return nil },
	}
}

func secret(p *Secret) value {
	return value{
		mute: true,
		show: p.String,
		set:  func(text string) error { *p = NewSecret(text); return nil },
	}
}

// address is an IP that packets can be sent to. Empty stands for none.
func address(p *netip.Addr, family string) value {
	return value{
		show: func() string { return showAddr(*p) },
		set: func(text string) error {
			if text == "" {
				*p = netip.Addr{}
				return nil
			}
			a, err := netip.ParseAddr(text)
			a = a.Unmap()
			bad := err != nil || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback()
			if bad || a.Is6() && family == "IPv4" || a.Is4() && family == "IPv6" {
				return fmt.Errorf("want the %s address of a host", family)
			}
			*p = a
			return nil
		},
	}
}

// listen is a local address to serve on.
func listen(p *netip.Addr) value {
	return value{
		show: func() string { return showAddr(*p) },
		set: func(text string) error {
			a, err := netip.ParseAddr(text)
			if err != nil || a.IsMulticast() {
				return errors.New("want an IP address of this host, or 0.0.0.0 or :: for all")
			}
			*p = a
			return nil
		},
	}
}

func names(p *[]string) value {
	return value{
		show: func() string { return strings.Join(*p, ",") },
		set: func(text string) error {
			if text == "" || !printable(text) {
				return errors.New("want an interface name or an IP address")
			}
			*p = append(*p, text)
			return nil
		},
	}
}

func patterns(p *[]*regexp.Regexp) value {
	return value{
		show: func() string {
			var all []string
			for _, re := range *p {
				all = append(all, re.String())
			}
			return strings.Join(all, ",")
		},
		set: func(text string) error {
			re, err := regexp.Compile(text)
			if err != nil || text == "" {
				return fmt.Errorf(`want a regular expression such as ^eth or ^192\.168\.%s`, cause(err))
			}
			*p = append(*p, re)
			return nil
		},
	}
}

func showAddr(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func cause(err error) string {
	if err == nil {
		return ""
	}
	return " (" + err.Error() + ")"
}
