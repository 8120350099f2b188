package batch

import (
	"fmt"
	"net/http"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/internal/pump"
)

// hopelessAfter is how many calls in a row that fail for a reason that has
// nothing to do with them say that all others would, too.
const hopelessAfter = 20

// HopelessError is why a batch was given up: every call fails in the same way.
// None of these has a result: another run makes them again.
type HopelessError struct{ Reason string }

func (e *HopelessError) Error() string { return e.Reason }

// suspects are results that are held back, because they may be all that there
// ever will be: the credential is refused, or the bill is not paid. They are
// written when another call has a better one.
type suspects struct {
	keepGoing bool
	status    int // of all that are held
	held      []*result
	proven    bool // a call of this run had an answer that speaks for the others
	answered  bool // an attempt of this run had any answer at all
	unreached int  // attempts before that
}

// most is how many calls may be out, and after what time to ask again, 0 for
// never. Before the first good answer they are few, and more each second: were
// they all made at once, they might all fail at once.
func (s *suspects) most(since time.Duration, inFlight int) (most int, next time.Duration) {
	if s.proven || s.keepGoing {
		return inFlight, 0
	}
	seconds := int(since / time.Second)
	if most = hopelessAfter << min(seconds, 20); most >= inFlight {
		return inFlight, 0
	}
	return most, time.Duration(seconds+1)*time.Second - since
}

// add takes in a result, and the status by which it may stand for all others; 0
// if it does not. It returns the results to be written now, or that there is no
// hope.
func (s *suspects) add(r *result, status int) (write []*result, err error) {
	if s.keepGoing {
		return []*result{r}, nil
	}
	if status == 0 {
		s.proven = true
		return append(s.release(), r), nil
	}
	if status != s.status {
		write = s.release()
		s.status = status
	}
	s.held = append(s.held, r)
	if len(s.held) < hopelessAfter {
		return write, nil
	}
	return write, &HopelessError{fmt.Sprintf("every call fails, the last %d in a row with %s; these have no result: "+
		"mend it, and the same command makes them again (--keep-going goes on whatever comes)", len(s.held), r.message)}
}

// release returns what is held, to be written.
func (s *suspects) release() []*result {
	held := s.held
	s.held, s.status = nil, 0
	return held
}

// attempt takes in how an attempt ended. The error says that nothing answers.
func (s *suspects) attempt(failure error) error {
	if failure == nil {
		s.answered = true
		return nil
	}
	if s.unreached++; s.unreached < hopelessAfter {
		return nil
	}
	return s.unreachable(failure)
}

// unreachable returns that nothing answers, unless something has.
func (s *suspects) unreachable(failure error) error {
	if s.answered || s.keepGoing {
		return nil
	}
	return &HopelessError{fmt.Sprintf("the upstream cannot be reached: %v; nothing is lost, and the same command goes on", failure)}
}

// suspicionOf returns the status by which a result may stand for all others, 0
// if it does not.
func suspicionOf(r pump.Result) int {
	if r.Response == nil || r.Outcome != headgate.OutcomeFatal {
		return 0
	}
	switch status := r.Response.Status; status {
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusTooManyRequests:
		return status
	}
	return 0
}

// settleWith writes a result, unless it is to be held back.
func (f *feed) settleWith(r *result, status int) {
	f.mu.Lock()
	write, err := f.mu.suspects.add(r, status)
	f.mu.Unlock()
	for _, r := range write {
		f.write(r)
	}
	if err != nil {
		f.stop(err)
	}
}
