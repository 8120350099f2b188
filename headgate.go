// Package headgate calls APIs that somebody else limits at their full quota,
// without 429s and without losing a call.
//
// A Gate is the one door through which calls leave. A call enters, is admitted
// when the circuit breaker, the waiting line and the ledger of limits agree,
// is sent, and its answer is read; what the answer says goes back into the
// ledger, and the call either ends or stands in line once more:
//
//	RoundTrip → enter → admit → send → observe → decide → done
//	                      ↑                         │
//	                      └──── again, not before t ┘
//
// In the simplest use a Transport holds an http.Client to a limit:
//
//	client := &http.Client{Transport: headgate.Transport(headgate.Limit("50/1m"))}
//
// Open builds a Gate from a configuration; its clients share limits, line,
// pauses and breakers. Calls that are not HTTP take permits with Gate.Acquire.
//
// A Gate is safe for use by many goroutines at once.
package headgate
