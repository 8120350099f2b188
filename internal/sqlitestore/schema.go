package sqlitestore

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/headgate/headgate/internal/job"
)

// application marks files of ours, "HdGt"; version is that of the schema. A file
// of a later version is refused; earlier ones are brought up by migrations.
const (
	application = 0x48644774
	version     = 1
)

// migrations are the steps from each version to the next.
var migrations = [version]string{schema1}

// schema1 keeps bodies apart from jobs, which are rewritten with each step and
// read in lists. What waits is in no index but those of IDs, keys and queues, which
// keeps storing it cheap. The state of a job that waits for
// a moment is 'delayed'; the others are named as in package job. Times are
// milliseconds since 1970.
const schema1 = `
CREATE TABLE jobs (
	seq         INTEGER PRIMARY KEY, -- grows: older jobs have lower ones
	id          TEXT NOT NULL,
	kind        TEXT NOT NULL,
	state       TEXT NOT NULL,
	queue       TEXT NOT NULL,
	priority    INTEGER NOT NULL,
	upstream    TEXT NOT NULL,
	client      TEXT NOT NULL,
	method      TEXT NOT NULL,
	path        TEXT NOT NULL,
	callback    TEXT NOT NULL,
	parent      TEXT NOT NULL,
	key         TEXT NOT NULL,
	fingerprint TEXT NOT NULL,
	created     INTEGER NOT NULL,
	not_before  INTEGER,
	started     INTEGER,
	ended       INTEGER,
	expires     INTEGER,
	attempted   INTEGER NOT NULL,
	tried       INTEGER NOT NULL,
	losses      INTEGER NOT NULL,
	status      INTEGER NOT NULL,
	reason      TEXT NOT NULL,
	location    TEXT NOT NULL,
	attempts    TEXT -- JSON
) STRICT;
CREATE UNIQUE INDEX jobs_id ON jobs (id);
CREATE UNIQUE INDEX jobs_key ON jobs (client, key) WHERE key <> '';
CREATE INDEX jobs_waiting ON jobs (queue, priority, seq) WHERE state = 'waiting';
CREATE INDEX jobs_delayed ON jobs (queue, not_before) WHERE state = 'delayed';
CREATE INDEX jobs_state ON jobs (kind, state, seq) WHERE state <> 'waiting';
CREATE INDEX jobs_expires ON jobs (expires) WHERE expires IS NOT NULL;

CREATE TABLE requests (
	seq    INTEGER PRIMARY KEY,
	header TEXT NOT NULL, -- a line for each value, as in HTTP/1.1
	body   BLOB NOT NULL
) STRICT;
CREATE TABLE responses (
	seq    INTEGER PRIMARY KEY,
	status INTEGER NOT NULL,
	header TEXT NOT NULL,
	body   BLOB NOT NULL
) STRICT;
`

// settings of the writer's connection. A checkpoint moves what is in the -wal to
// the file and syncs it: one for each 16 MiB, where SQLite's default is 4.
var settings = []string{
	"journal_mode = wal",
	"synchronous = full",
	"wal_autocheckpoint = 4000",
	"cache_size = -32000", // KiB
	"temp_store = memory",
}

// patience is how long another program may hold up a commit, such as a shell
// that is in the file.
const patience = 5 * time.Second

func uri(path string) string {
	return (&url.URL{Scheme: "file", OmitHost: true, Path: path}).String()
}

func openConn(path string) (*sqlite.Conn, error) {
	conn, err := sqlite.OpenConn(uri(path), sqlite.OpenReadWrite|sqlite.OpenCreate|sqlite.OpenURI)
	if err != nil {
		return nil, err
	}
	conn.SetBusyTimeout(patience)
	return conn, nil
}

func prepareReader(conn *sqlite.Conn) error {
	conn.SetBusyTimeout(patience)
	return sqlitex.ExecuteTransient(conn, `PRAGMA query_only = 1`, nil)
}

// errNotOurs is returned for a file that is not one of ours, as it says.
var errNotOurs = errors.New("not a file of jobs")

// migrate sees that the file behind conn is one of ours, or makes it one if it is
// empty, and brings its schema up.
func migrate(conn *sqlite.Conn) error {
	app, err := number(conn, `PRAGMA application_id`)
	if err != nil {
		return err
	}
	at, err := number(conn, `PRAGMA user_version`)
	if err != nil {
		return err
	}
	tables, err := number(conn, `SELECT count(*) FROM sqlite_schema`)
	if err != nil {
		return err
	}
	switch {
	case app != application && (app != 0 || at != 0 || tables != 0):
		return fmt.Errorf("%w: an SQLite file of another program: name another file", errNotOurs)
	case at > version:
		return fmt.Errorf("%w that this headgate can read: it has schema %d, this headgate knows up to %d: run the later headgate that wrote it, or name another file", errNotOurs, at, version)
	}
	for _, set := range settings {
		if err := sqlitex.ExecuteTransient(conn, "PRAGMA "+set, nil); err != nil {
			return err
		}
	}
	for ; at < version; at++ {
		script := fmt.Sprintf("%s\nPRAGMA application_id = %d; PRAGMA user_version = %d;", migrations[at], application, at+1)
		if err := sqlitex.ExecuteScript(conn, script, nil); err != nil {
			return fmt.Errorf("bring the schema from %d to %d: %w", at, at+1, err)
		}
	}
	return nil
}

// number returns what a query answers.
func number(conn *sqlite.Conn, query string) (n int64, err error) {
	err = sqlitex.ExecuteTransient(conn, query, &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error { n = stmt.ColumnInt64(0); return nil },
	})
	return n, err
}

// explain gives an error of SQLite its kind, and says what would mend it.
func (s *Store) explain(err error) error {
	code := sqlite.ErrCode(err)
	switch code {
	case sqlite.ResultIOErrWrite, sqlite.ResultIOErrFsync, sqlite.ResultIOErrTruncate, sqlite.ResultIOErrSHMSize, sqlite.ResultIOErrSHMMap:
		// What a full disk, a quota or a limit of the process may come out as.
		return fmt.Errorf("%w: the disk of %s takes no more (%v): make room, or see what the system says of it", job.ErrFull, s.path, err)
	}
	switch code.ToPrimary() {
	case sqlite.ResultOK, sqlite.ResultError:
		return err
	case sqlite.ResultFull:
		return fmt.Errorf("%w: the disk of %s has no room: make some; nothing stored is lost", job.ErrFull, s.path)
	case sqlite.ResultNotADB, sqlite.ResultCorrupt:
		return fmt.Errorf("%w: %s is no SQLite file, or damaged (%v): put a backup in its place, or save what can be read by: sqlite3 %[2]s .recover | sqlite3 NEW", job.ErrUnavailable, s.path, err)
	case sqlite.ResultBusy, sqlite.ResultLocked:
		return fmt.Errorf("%w: another program holds up %s for more than %v (%v): end it", job.ErrUnavailable, s.path, patience, err)
	case sqlite.ResultReadOnly, sqlite.ResultCantOpen, sqlite.ResultPerm:
		return fmt.Errorf("%w: %s cannot be written (%v): it and its directory must be writable", job.ErrUnavailable, s.path, err)
	case sqlite.ResultInterrupt:
		return err
	default:
		return fmt.Errorf("%w: %s: %v", job.ErrUnavailable, s.path, err)
	}
}
