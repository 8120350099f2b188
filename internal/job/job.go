// Package job is a call that is stored before it is answered: its states, what
// may become of it, and the stores that keep it.
//
// A job is run at least once and ends exactly once. Who runs one holds it by a
// fence, a number that grows each time the job is taken; what comes with an old
// fence is refused, so that a worker that was thought dead overwrites nothing.
//
//	          Take, Start              End
//	waiting ──────────────▶ running ───────────▶ done
//	 ▲  ▲ │                  │  │ │                (kept for the retention,
//	 │  │ │ Cancel           │  │ └────▶ failed ──  then deleted)
//	 │  │ └─────▶ cancelled ◀┘  │          │
//	 │  └───────────────────────┘          │
//	 │    End (not before …), or a loss    │
//	 └─────────────────────────────────────┘
//	                  Retry
//
// Package sqlitestore and package redisstore keep jobs; package worker runs them;
// jobtest is what a store must do, as tests.
package job

import (
	"net/http"
	"time"
)

// State is where a job stands.
type State string

// The states. A job that a worker has taken and that waits for its permit is
// Waiting: it runs from its permit on.
const (
	Waiting   State = "waiting"
	Running   State = "running"
	Done      State = "done"      // the upstream answered, and not with an error
	Failed    State = "failed"    // for good, unless somebody has it run again
	Cancelled State = "cancelled" // by its client, or by who runs the gate
)

// States are all of them, in the order in which they are shown.
var States = []State{Waiting, Running, Done, Failed, Cancelled}

// Ended says whether nothing more happens to the job by itself.
func (s State) Ended() bool { return s == Done || s == Failed || s == Cancelled }

// Bounds that every store keeps.
const (
	// AttemptsKept is how many attempts a job tells of, the last ones.
	AttemptsKept = 50

	// MostLosses is how often a job may be lost with its worker. One that was
	// lost so often may be what the workers die of: who takes it next does not
	// send it, and ends it as Failed.
	MostLosses = 10

	// LeaseFor is how long what a worker has taken stays its own without a word
	// of it.
	LeaseFor = 3 * time.Second

	// Retention is how long what has ended is kept if nobody says otherwise.
	Retention = 24 * time.Hour
)

// Kind tells apart what a job does.
type Kind string

// The kinds. A Callback tells somebody that a Call has ended; it is stored in the
// same step that ends it.
const (
	Call     Kind = "call"
	Callback Kind = "callback"
)

// Job is all of a job but what is sent and what came back. As JSON it is what
// users read.
type Job struct {
	ID       string `json:"id"`
	Kind     Kind   `json:"kind"`
	State    State  `json:"state"`
	Upstream string `json:"upstream,omitempty"`
	Client   string `json:"client,omitempty"`
	Method   string `json:"method"`
	Path     string `json:"path"` // with its query; of a callback, the whole URL
	Priority int    `json:"priority"`

	Attempts  []Attempt `json:"attempts"`         // the last AttemptsKept, oldest first
	Attempted int       `json:"attempted"`        // attempts in all
	Losses    int       `json:"losses,omitempty"` // times that a worker died with it
	Status    int       `json:"status,omitempty"` // of the stored response
	Reason    string    `json:"reason,omitempty"` // why it failed, was cancelled, or waits

	CreatedAt time.Time  `json:"created_at"`
	NotBefore *time.Time `json:"not_before,omitempty"` // of a waiting one: it is not taken earlier
	StartedAt *time.Time `json:"started_at,omitempty"` // last time
	EndedAt   *time.Time `json:"ended_at,omitempty"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"` // of an ended one: it is deleted then

	Callback string `json:"callback,omitempty"` // URL to tell when it has ended
	Parent   string `json:"parent,omitempty"`   // of a callback: the job that it tells of

	// Queue is what the job waits in. Jobs of one queue are for the same quota
	// and of the same client; see Queue.
	Queue string `json:"-"`
	// Key is the client's Idempotency-Key, "" if it sent none, and Fingerprint
	// what it stands for.
	Key         string `json:"-"`
	Fingerprint string `json:"-"`
	// Tried is how many attempts count against the policy: those since the job
	// was stored or retried, but for those that were throttled.
	Tried int `json:"-"`
	// Location is where the upstream said that the answer will be; see
	// End.Location.
	Location string `json:"-"`
}

// Attempt is one exchange with the upstream, or one that did not come about.
type Attempt struct {
	At      time.Time `json:"at"`
	Status  int       `json:"status,omitempty"`  // 0: there was no answer
	Reading string    `json:"reading,omitempty"` // the class of the answer
	Reason  string    `json:"reason,omitempty"`  // the reading's own words, or the error's
	DelayMS int64     `json:"delay_ms"`          // what was waited before the next one
	TookMS  int64     `json:"took_ms"`           // from permit to answer
}

// Request is what a job sends. It may hold a caller's own credential.
type Request struct {
	Method string
	Path   string // with its query; of a callback, the whole URL
	Header http.Header
	Body   []byte
}

// Response is what came back. Its body is whole.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Ref names a job as somebody holds it.
type Ref struct {
	ID    string
	Fence int64
}

// Taken is a job that a worker holds.
type Taken struct {
	Ref
	Job     Job
	Request Request
}

// End says what becomes of a job that was taken.
type End struct {
	Ref
	State    State         // Done, Failed, Cancelled, or Waiting: it is to be taken again
	Delay    time.Duration // of Waiting: before it is
	Attempts []Attempt     // made since it was taken
	Tried    int           // of these, those that count against the policy
	Reason   string
	Response *Response     // nil: there is none, or none to be kept
	Keep     time.Duration // of the ended: for how long; 0: Retention
	// Location is where to ask for the answer when the job is taken again,
	// instead of sending its request; "" if it is as before.
	Location string
	// Then is a job to be stored in the same step, nil for none.
	Then *New
}

// New is a job to be stored.
type New struct {
	Job     Job // of which ID, Kind, Upstream, Client, Priority, Callback, Parent, Queue, Key and Fingerprint count
	Request Request
	Delay   time.Duration // before it may be taken
}
