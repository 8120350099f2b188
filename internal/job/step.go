package job

import "time"

// The steps between states, for stores that keep a Job as it is. Each changes the
// job to how it stands after the step at now, or returns why there is none and
// changes nothing. Whether a Ref holds is the store's to know.

// Stored returns the job that n makes: one with an ID of its own if it has none,
// and a Call if it does not say.
func Stored(n New, now time.Time) Job {
	j := n.Job
	if j.ID == "" {
		j.ID = NewID(now)
	}
	if j.Kind == "" {
		j.Kind = Call
	}
	j.State = Waiting
	j.Method, j.Path = n.Request.Method, n.Request.Path
	j.CreatedAt = now
	j.NotBefore = after(now, n.Delay)
	return j
}

// Start has a job run.
func (j *Job) Start(now time.Time) error {
	if j.State != Waiting {
		return ErrFenced
	}
	j.State = Running
	j.StartedAt, j.NotBefore = &now, nil
	j.Reason = ""
	return nil
}

// End has a job that was taken become what e says. One that was sent and not
// marked as running, as it was over so soon, has started with its first attempt.
func (j *Job) End(e End, now time.Time) error {
	if j.State.Ended() {
		return ErrFenced
	}
	if began := e.began(); j.State == Waiting && !began.IsZero() {
		if began.After(now) { // by another clock
			began = now
		}
		j.StartedAt = &began
	}
	j.Attempted += len(e.Attempts)
	j.Attempts = append(j.Attempts[:len(j.Attempts):len(j.Attempts)], e.Attempts...)
	if n := len(j.Attempts) - AttemptsKept; n > 0 {
		j.Attempts = j.Attempts[n:]
	}
	j.Tried += e.Tried
	j.Reason = e.Reason
	if e.Location != "" {
		j.Location = e.Location
	}
	if e.State == Waiting {
		j.State = Waiting
		j.NotBefore = after(now, e.Delay)
		return nil
	}
	if e.Response != nil {
		j.Status = e.Response.Status
	}
	j.end(e.State, e.Keep, now)
	return nil
}

// LostReason is the Reason of a job that waits because its worker died with it.
const LostReason = "lost with the worker that ran it"

// Lose takes a job from a worker that has died. One that had not started is as
// it was. Whether it was lost too often, see MostLosses, is for who takes it next.
func (j *Job) Lose() {
	if j.State != Running {
		return
	}
	j.Losses++
	j.State = Waiting
	j.NotBefore = nil
	j.Reason = LostReason
}

// Leave gives back a job that a worker took, and that it will not end: no loss.
func (j *Job) Leave() {
	if j.State == Running {
		j.State = Waiting
	}
}

// Cancel ends a job that has not ended, and keeps it for a while; 0: Retention.
func (j *Job) Cancel(reason string, keep time.Duration, now time.Time) error {
	if j.State.Ended() {
		return ErrEnded
	}
	j.Reason = reason
	j.end(Cancelled, keep, now)
	return nil
}

// Retry has a job that failed or was cancelled wait again.
func (j *Job) Retry(now time.Time) error {
	switch {
	case j.State == Done:
		return ErrEnded
	case !j.State.Ended():
		return ErrNotEnded
	}
	j.State = Waiting
	j.NotBefore, j.EndedAt, j.ExpiresAt = nil, nil, nil
	j.Tried, j.Losses, j.Status = 0, 0, 0
	j.Reason, j.Location = "", ""
	return nil
}

// began returns when the first attempt was made, the zero time for none.
func (e *End) began() time.Time {
	if len(e.Attempts) == 0 {
		return time.Time{}
	}
	return e.Attempts[0].At.UTC()
}

func (j *Job) end(s State, keep time.Duration, now time.Time) {
	if keep <= 0 {
		keep = Retention
	}
	j.State = s
	expires := now.Add(keep)
	j.EndedAt, j.ExpiresAt, j.NotBefore = &now, &expires, nil
}

func after(now time.Time, d time.Duration) *time.Time {
	if d <= 0 {
		return nil
	}
	t := now.Add(d)
	return &t
}
