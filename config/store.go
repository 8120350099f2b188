package config

import (
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// StoreKind says what keeps the state, and how it is reached.
type StoreKind int

// The kinds of a Store.
const (
	Memory   StoreKind = iota // this process
	Single                    // one Redis
	Sentinel                  // the master that Redis Sentinels name
	Cluster                   // a Redis Cluster
)

// String is memory, single, sentinel or cluster.
func (k StoreKind) String() string {
	return [...]string{"memory", "single", "sentinel", "cluster"}[k]
}

// Store is where the state is kept: what State says, taken apart. The zero
// value is memory.
type Store struct {
	Kind             StoreKind
	TLS              bool     // also to Sentinels
	Addrs            []string // host:port each, in the order written; of Sentinels or of nodes to begin with; one if Single
	Username         string   // "": the default user
	Password         Secret   // zero: none
	DB               int      // always 0 in a cluster
	Master           string   // what Sentinels call it; "" for other kinds
	SentinelPassword Secret   // zero: none
}

// stores are the schemes of an address, and what each says by itself.
var stores = map[string]Store{
	"redis":           {Kind: Single},
	"rediss":          {Kind: Single, TLS: true},
	"redis+sentinel":  {Kind: Sentinel},
	"rediss+sentinel": {Kind: Sentinel, TLS: true},
	"redis+cluster":   {Kind: Cluster},
	"rediss+cluster":  {Kind: Cluster, TLS: true},
}

// storeWords are what state may be or begin with, for messages and guesses.
var storeWords = []string{"memory", "redis://", "rediss://", "redis+sentinel://", "rediss+sentinel://", "redis+cluster://", "rediss+cluster://"}

// What is wanted of an address, for messages.
var (
	wantRedis = "want an address that begins with " +
		strings.Join(storeWords[1:len(storeWords)-1], ", ") + " or " + storeWords[len(storeWords)-1]
	wantStore = strings.Replace(wantRedis, "want ", "want memory, or ", 1)
)

// Store returns where the state is kept. The error is the *Error that Validate
// would report; it shows no password.
func (c Config) Store() (Store, error) {
	s, fault := parseStore(c.WithDefaults().State)
	if fault == nil {
		return s, nil
	}
	fault.Path = "state"
	if c.hidden["state"] {
		hide(fault)
	}
	return Store{}, fault
}

// String writes the store as State would, with every default, and with *** for
// user, password and the Sentinels' password.
func (s Store) String() string {
	if s.Kind == Memory {
		return "memory"
	}
	var b strings.Builder
	for name, is := range stores {
		if is.Kind == s.Kind && is.TLS == s.TLS {
			b.WriteString(name + "://")
		}
	}
	if s.Username != "" || !s.Password.IsZero() {
		b.WriteString(hiddenText + "@")
	}
	b.WriteString(strings.Join(s.Addrs, ","))
	if s.Kind == Sentinel {
		b.WriteString("/" + s.Master)
	}
	if s.Kind != Cluster {
		b.WriteString("/" + strconv.Itoa(s.DB))
	}
	if !s.SentinelPassword.IsZero() {
		b.WriteString("?sentinel_password=" + hiddenText)
	}
	return b.String()
}

// masterName is what a Sentinel accepts as the name of a master.
var masterName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// parseStore reads what state says. A fault has no path; its value is redacted,
// and its message quotes nothing of text.
func parseStore(text string) (Store, *Error) {
	if text == "memory" {
		return Store{}, nil
	}
	scheme, rest, ok := strings.Cut(text, "://")
	s, known := stores[scheme]
	if !ok || !known {
		return Store{}, &Error{Value: redact(text), Hint: storeHint(text), Msg: wantStore}
	}
	if why := s.read(rest); why != "" {
		return Store{}, &Error{Value: redact(text), Msg: why}
	}
	return s, nil
}

// encoded says how to write what an address cannot hold as it is.
const encoded = `in a user or password write %40 for "@", %2F for "/", %3F for "?", %23 for "#" and %25 for "%"`

// read takes apart what follows the scheme:
//
//	[user[:password]@]host[:port][,host[:port]…][/path][?parameters]
//
// why says what is wrong with it, and quotes nothing of it.
func (s *Store) read(rest string) (why string) {
	if strings.Contains(rest, "#") {
		return `must hold no "#"; ` + encoded
	}
	rest, query, _ := strings.Cut(rest, "?")
	hosts, path, _ := strings.Cut(rest, "/")
	if strings.Contains(path, "@") || strings.Count(hosts, "@") > 1 {
		return `must hold one "@", before the first host; ` + encoded
	}
	if user, after, ok := strings.Cut(hosts, "@"); ok {
		hosts = after
		if why := s.readUser(user); why != "" {
			return why
		}
	}
	if why := s.readHosts(hosts); why != "" {
		return why
	}
	if why := s.readQuery(query); why != "" {
		return why
	}
	return s.readPath(path)
}

func (s *Store) readUser(text string) (why string) {
	user, password, _ := strings.Cut(text, ":")
	user, err := url.PathUnescape(user)
	password, err2 := url.PathUnescape(password)
	if err != nil || err2 != nil {
		return `a "%" is not followed by two hexadecimal digits; ` + encoded
	}
	s.Username, s.Password = user, NewSecret(password)
	return ""
}

func (s *Store) readHosts(text string) (why string) {
	defaultPort := "6379"
	if s.Kind == Sentinel {
		defaultPort = "26379"
	}
	if text == "" {
		return "the host is missing"
	}
	for one := range strings.SplitSeq(text, ",") {
		addr, ok := hostAndPort(one, defaultPort)
		if !ok {
			return `want host or host:port, such as "localhost:6379", and "," between several; ` + encoded
		}
		s.Addrs = append(s.Addrs, addr)
	}
	if s.Kind == Single && len(s.Addrs) > 1 {
		return "has more than one host; want redis+sentinel:// or redis+cluster://"
	}
	return ""
}

var (
	hostName  = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
	bracketed = regexp.MustCompile(`^\[(.*)\]$`)
)

// hostAndPort reads host, host:port, [v6] or [v6]:port.
func hostAndPort(text, defaultPort string) (addr string, ok bool) {
	host, port := text, defaultPort
	if at := strings.LastIndex(text, ":"); at > strings.LastIndex(text, "]") {
		host, port = text[:at], text[at+1:]
	}
	if v6 := bracketed.FindStringSubmatch(host); v6 != nil {
		host = v6[1]
		if ip, err := netip.ParseAddr(host); err != nil || !ip.Is6() || ip.Zone() != "" {
			return "", false
		}
	} else if !hostName.MatchString(host) {
		return "", false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return net.JoinHostPort(host, strconv.FormatUint(n, 10)), err == nil && n > 0
}

// readQuery reads the parameters, which only Sentinels have. "+" is itself:
// passwords hold it more often than spaces.
func (s *Store) readQuery(text string) (why string) {
	const want = `after "?" want master=NAME or sentinel_password=PASSWORD, each once, "&" between them, of redis+sentinel:// alone`
	if text == "" {
		return ""
	}
	seen := map[string]bool{}
	for pair := range strings.SplitSeq(text, "&") {
		key, value, _ := strings.Cut(pair, "=")
		value, err := url.PathUnescape(value)
		if err != nil || value == "" || seen[key] || s.Kind != Sentinel {
			return want
		}
		seen[key] = true
		switch key {
		case "master":
			s.Master = value
		case "sentinel_password":
			s.SentinelPassword = NewSecret(value)
		default:
			return want
		}
	}
	return ""
}

// readPath reads [/db], for Sentinels /MASTER[/db], without the first slash.
func (s *Store) readPath(path string) (why string) {
	if s.Kind == Sentinel {
		if s.Master == "" {
			s.Master, path, _ = strings.Cut(path, "/")
			if _, err := strconv.Atoi(s.Master); err == nil {
				return `the name of the master is missing before the database: want "/MASTER/DB", or "?master=NAME"`
			}
		}
		if s.Master == "" {
			return `the name of the master is missing: want "/MASTER" or "/MASTER/DB" after the hosts`
		}
		if !masterName.MatchString(s.Master) {
			return `the name of a master has letters, digits, ".", "_" and "-" only`
		}
	}
	if path == "" {
		return ""
	}
	db, err := strconv.ParseUint(path, 10, 31)
	switch {
	case err != nil:
		return `want the number of a database at the end, such as "/0", or nothing`
	case s.Kind == Cluster && db != 0:
		return "a cluster has database 0 alone; leave the number out"
	}
	s.DB = int(db)
	return ""
}

// storeHint guesses what was meant by text that begins with none of
// storeWords: how it should begin, or the address of what is host:port.
func storeHint(text string) string {
	if scheme, _, ok := strings.Cut(text, "://"); ok {
		return nearest(scheme+"://", storeWords)
	}
	addr := "redis://" + text
	if _, fault := parseStore(addr); fault == nil && strings.Contains(text, ":") && !strings.ContainsAny(text, "@?") {
		return addr
	}
	return nearest(text, storeWords[:1])
}

// showable is an address without "@" that cannot be a user and a password with
// the host forgotten: whatever follows a ":" could be a port.
var showable = regexp.MustCompile(`^[^:]*(:[0-9]{1,5}([,/?][^:]*)?)*$`)

// redact returns what may be shown of an address, "" if that is nothing. All
// that could be a user, a password or a parameter is ***, however badly it was
// written.
func redact(text string) string {
	scheme, rest := "", text
	if before, after, ok := strings.Cut(text, "://"); ok {
		scheme, rest = before+"://", after
	}
	at, end := strings.LastIndex(rest, "@"), strings.IndexAny(rest, "?#")
	switch {
	case at >= 0 && end >= 0 && end < at: // a password with "?", or a parameter with "@"?
		return scheme + hiddenText
	case end >= 0:
		rest = rest[:end+1] + hiddenText
	}
	switch {
	case at >= 0:
		return scheme + hiddenText + rest[at:]
	case showable.MatchString(rest):
		return scheme + rest
	}
	return ""
}
