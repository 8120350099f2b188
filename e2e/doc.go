// Package e2e holds the tests of the whole: the headgate binary runs as a
// process on loopback ports, between callers and upstreams of the tests' own.
//
// Only what a user can see is looked at: answers, output, exit statuses, the
// admin plane, memory. What the rooms promise one another is tested in the
// rooms, and exact figures of limits in virtual time; here time is real, so
// that figures have room for a busy machine. Tests that need nginx or Node are
// skipped without them, and say so.
package e2e
