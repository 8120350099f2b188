package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/redisstore"
)

// checkState asks the state of c about itself, unless that is memory, and
// writes what it is fit for. If it is not, the error is a *config.Error at
// place; force makes warnings of what could go well for a while.
func checkState(w io.Writer, c config.Config, place config.Error, force bool) error {
	at, err := c.Store()
	if err != nil || at.Kind == config.Memory {
		return err
	}
	facts, err := askState(context.Background(), at)
	if err != nil {
		return err
	}
	for _, note := range stateNotes(facts) {
		fmt.Fprintln(w, "note: state:", note)
	}
	for _, warning := range stateWarnings(at, facts) {
		fmt.Fprintln(w, "warning: state:", warning)
	}
	if facts.Cluster != "" && facts.Cluster != "ok" {
		return fmt.Errorf("state %s: cluster_state is %s: not every slot has a master that is alive; see CLUSTER NODES", at, facts.Cluster)
	}
	place.Value = at.String()
	if place.Msg = unfit(at, facts); place.Msg != "" {
		return &place
	}
	if why := evicts(facts); why != "" && force {
		fmt.Fprintln(w, "warning: state:", why)
	} else if why != "" {
		place.Msg = why + "; --force makes this a warning"
		return &place
	}
	return nil
}

// stateNotes says what a store is, one sentence each.
func stateNotes(f redisstore.Facts) []string {
	first := fmt.Sprintf("%s %s at %s, role %s", f.Server, f.Version, f.Addr, f.Role)
	if f.Mode != "" {
		first += "; it runs our step as a " + f.Mode
	}
	notes := []string{first}
	if f.Cluster != "" {
		notes = append(notes, "cluster_state "+f.Cluster+"; what is said of a server holds for "+f.Addr+" alone")
	}
	return append(notes,
		"round trip "+f.RoundTrip.Round(10*time.Microsecond).String()+"; its clock "+ahead(f)+", and nothing depends on that",
		"persistence "+persistence(f)+"; quotas need none: instances repair an empty store from what they used",
		"maxmemory "+config.Size(f.MaxMemory).String()+", maxmemory-policy "+orUnknown(f.Eviction),
	)
}

// ahead says how the server's clock stands to ours, as far as can be known.
func ahead(f redisstore.Facts) string {
	d := f.Ahead.Abs().Round(time.Millisecond)
	switch {
	case d == 0 || f.Ahead.Abs() <= f.RoundTrip/2:
		return "agrees with ours"
	case f.Ahead < 0:
		return fmt.Sprintf("is %v behind ours", d)
	}
	return fmt.Sprintf("is %v ahead of ours", d)
}

func persistence(f redisstore.Facts) string {
	switch {
	case f.AppendOnly:
		return "by append-only file, appendfsync " + orUnknown(f.Fsync)
	case f.Save != "":
		return "by snapshots, save " + strconv.Quote(f.Save)
	case f.Fsync == "": // it may not be asked for, and neither may save
		return "unknown"
	}
	return "none"
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// stateWarnings says what ought to be mended, though the store can be used.
func stateWarnings(at config.Store, f redisstore.Facts) []string {
	var warnings []string
	if at.Kind == config.Cluster && f.Cluster == "" {
		warnings = append(warnings, "is no cluster; redis:// says what it is")
	}
	if isBefore62(f.Version) {
		warnings = append(warnings, f.Server+" "+f.Version+" is older than 6.2, the oldest that is supported")
	}
	switch {
	case strings.HasPrefix(f.Eviction, "volatile-"):
		warnings = append(warnings, "maxmemory-policy "+f.Eviction+" drops keys that expire when memory is full, those of quotas among them: "+mendEviction)
	case f.MaxMemory > 0 && f.Eviction == "noeviction":
		warnings = append(warnings, "when memory is full it takes no writes, and counts as lost: leave room for quotas, some 0.5 KB for each instance and credential")
	}
	return warnings
}

const mendEviction = "CONFIG SET maxmemory-policy noeviction, and the same in redis.conf"

// evicts says why the store might forget what it should not; "" if it won't.
func evicts(f redisstore.Facts) string {
	if !strings.HasPrefix(f.Eviction, "allkeys-") {
		return ""
	}
	return "maxmemory-policy " + f.Eviction + " drops any key when memory is full, those of quotas too: " + mendEviction
}

// unfit says why the store cannot be used at all; "" if it can.
func unfit(at config.Store, f redisstore.Facts) string {
	switch {
	case at.Kind != config.Cluster && f.Cluster != "":
		return "is a node of a cluster; want redis+cluster://"
	case at.Kind != config.Cluster && f.Role != "master":
		return "is a replica, and takes no writes; name its master, or Sentinels who know it: redis+sentinel://HOST:26379/MASTER"
	}
	return ""
}

// isBefore62 reads a version such as 7.0.15. One that cannot be read is not.
func isBefore62(version string) bool {
	parts := strings.Split(version, ".")
	if len(parts) < 2 {
		return false
	}
	major, err := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return err == nil && err2 == nil && (major < 6 || major == 6 && minor < 2)
}
