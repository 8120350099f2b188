package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/jobhttp"
)

const (
	defaultServer = "http://127.0.0.1:8788"

	jobsPage    = 1000             // jobs, the most that are listed at once
	askPatience = 30 * time.Second // for an answer
	actPatience = 30 * time.Minute // for an act by a filter, which may be on millions
	pollFor     = 30 * time.Second // how long one question for an end is held

	// awayFor is how long who waits for jobs bears with an instance that does not
	// answer any more: it may be restarted.
	awayFor   = time.Minute
	askAnew   = time.Second
	mostFault = 4 << 10 // bytes of an answer that is an error
)

// jobServer is the admin plane of a running instance.
type jobServer struct {
	base *url.URL
	root string // path that all questions begin with
	key  string // that changes are made with; "": none
}

// newJobServer reads an address: a URL, or host and port.
func newJobServer(address string) (*jobServer, error) {
	text := address
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" {
		return nil, fmt.Errorf("want a URL such as %s, with no user and no query", defaultServer)
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return &jobServer{base: u, root: "/api/v1/jobs"}, nil
}

func (s *jobServer) String() string { return s.base.String() }

// unreachableError is no answer, or none that an admin plane gives.
type unreachableError struct {
	server *jobServer
	err    error
}

func (e *unreachableError) Error() string {
	return fmt.Sprintf("ask %s: %v; is headgate serve running there? --server names another address", e.server, e.err)
}

func (e *unreachableError) Unwrap() error { return e.err }

// faultError is an answer that is an error.
type faultError struct {
	status int
	text   string
}

func (e *faultError) Error() string { return e.text }

// do is send for what is below the root.
func (s *jobServer) do(ctx context.Context, method, path string, query url.Values, fields http.Header) (*http.Response, error) {
	return s.send(ctx, method, s.root+path, query, fields)
}

// send asks and returns an answer that is none of an error. The caller closes its
// body.
func (s *jobServer) send(ctx context.Context, method, path string, query url.Values, fields http.Header) (*http.Response, error) {
	u := *s.base
	u.Path += path
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, fields)
	if s.key != "" && method != http.MethodGet {
		req.Header.Set("Authorization", "Bearer "+s.key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // it repeats the address
		}
		err = causeOf(ctx, err)
		return nil, &unreachableError{s, err}
	}
	if resp.StatusCode < 400 || resp.Header.Get(jobhttp.JobField) != "" {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, s.fault(resp)
}

// fault reads an answer that is an error.
func (s *jobServer) fault(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, mostFault)) // as far as it came
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	var problem struct{ Detail string }
	switch {
	case kind == "application/problem+json" && json.Unmarshal(text, &problem) == nil && problem.Detail != "":
		return &faultError{resp.StatusCode, printable(problem.Detail)}
	case resp.StatusCode == http.StatusForbidden && kind == "text/plain":
		return &unreachableError{s, errors.New("refused: " + printable(string(bytes.TrimSpace(text))))}
	}
	return &unreachableError{s, fmt.Errorf("answered %s, as no admin listener does", resp.Status)}
}

// ask asks for JSON.
func (s *jobServer) ask(ctx context.Context, patience time.Duration, method, path string, query url.Values, fields http.Header, into any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no answer within %v", patience))
	defer cancel()
	resp, err := s.do(ctx, method, path, query, fields)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return &unreachableError{s, fmt.Errorf("read the answer: %w", causeOf(ctx, err))}
	}
	return nil
}

// causeOf is why ctx ended if it has, else err.
func causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// list returns up to limit jobs, and whether there are more.
func (s *jobServer) list(ctx context.Context, query url.Values, limit int) (jobs []job.Job, more bool, err error) {
	query = maps.Clone(query)
	for {
		query.Set("limit", strconv.Itoa(min(limit-len(jobs), jobsPage)))
		var page struct {
			Jobs []job.Job
			Next string
		}
		if err := s.ask(ctx, askPatience, http.MethodGet, "", query, nil, &page); err != nil {
			return nil, false, err
		}
		jobs = append(jobs, page.Jobs...)
		if page.Next == "" || len(page.Jobs) == 0 || len(jobs) >= limit {
			return jobs, page.Next != "", nil
		}
		query.Set("after", page.Next)
	}
}

// get returns a job, and holds out for its end as long as wait says.
func (s *jobServer) get(ctx context.Context, id string, wait time.Duration) (j job.Job, err error) {
	var fields http.Header
	if wait > 0 {
		fields = http.Header{"Prefer": {"wait=" + strconv.Itoa(int(wait.Seconds()))}}
	}
	return j, s.ask(ctx, askPatience+wait, http.MethodGet, "/"+id, nil, fields, &j)
}

// wait returns a job that has ended. An instance that answered once may be away
// for a while, and one that stops ends polls early.
func (s *jobServer) wait(ctx context.Context, id string) (job.Job, error) {
	var heard time.Time
	for {
		asked := time.Now()
		j, err := s.get(ctx, id, pollFor)
		switch {
		case err == nil && j.State.Ended():
			return j, nil
		case ctx.Err() != nil:
			return j, fmt.Errorf("not ended: %w", context.Cause(ctx))
		case err == nil:
			heard = time.Now()
		case !passing(err) || heard.IsZero() || time.Since(heard) > awayFor:
			return j, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Until(asked.Add(askAnew))):
		}
	}
}

// passing reports whether an error may be over soon.
func passing(err error) bool {
	if fault, ok := errors.AsType[*faultError](err); ok {
		return fault.status == http.StatusServiceUnavailable
	}
	return true
}

// copyResponse writes the body of a job's response.
func (s *jobServer) copyResponse(ctx context.Context, id string, to io.Writer) error {
	ctx, cancel := context.WithTimeoutCause(ctx, actPatience, fmt.Errorf("no whole answer within %v", actPatience))
	defer cancel()
	resp, err := s.do(ctx, http.MethodGet, "/"+id+"/response", nil, http.Header{"Accept-Encoding": {"identity"}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(to, resp.Body)
	return err
}

// act does something to one job.
func (s *jobServer) act(ctx context.Context, act jobAct, id string) error {
	var j job.Job
	return s.ask(ctx, askPatience, http.MethodPost, "/"+id+"/"+act.name, nil, nil, &j)
}

// actByFilter does something to all jobs that a filter means, at most limit if
// that is not 0, and returns to how many.
func (s *jobServer) actByFilter(ctx context.Context, act jobAct, query url.Values, limit int) (int, error) {
	query = maps.Clone(query)
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	var done map[string]int
	err := s.ask(ctx, actPatience, http.MethodPost, "/"+act.name, query, nil, &done)
	return done[act.done], err
}
