package mock

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync"
	"time"
)

// RoundTripper returns a transport that hands requests to s without a socket,
// so that both ends may live in a testing/synctest bubble.
//
// It keeps the contract of http.RoundTripper, and behaves as http.Transport
// does where a caller can tell: bodies stream both ways, the end of the
// request's context ends the exchange on both sides, closing the response body
// early makes the caller gone, small answers arrive when the handler has
// returned. Of the request context's httptrace hooks it calls GetConn, GotConn
// (with a nil Conn), WroteHeaders, WroteRequest and GotFirstResponseByte. It
// adds no header fields of its own to a request.
//
// A response body must be read to its end or closed, or the handler stays.
func (s *Server) RoundTripper() http.RoundTripper { return inProcess{s} }

// errAnswered ends an upload that the handler did not read to its end.
var errAnswered = errors.New("mock: the upstream has answered")

type inProcess struct{ handler http.Handler }

func (t inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	upload := &requestBody{body: req.Body}
	if req.URL == nil || req.URL.Host == "" {
		upload.close()
		return nil, errors.New("mock: the request has no URL with a host")
	}
	if ctx.Err() != nil {
		upload.close()
		return nil, context.Cause(ctx)
	}
	trace := httptrace.ContextClientTrace(ctx)
	if trace == nil {
		trace = &httptrace.ClientTrace{}
	}
	if trace.GetConn != nil {
		trace.GetConn(hostPort(req))
	}
	if trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}

	// The exchange ends for the handler with gone, and for the caller with what
	// its two pipes then return.
	serverCtx, gone := context.WithCancel(context.Background())
	uploadEnd, uploadStart := io.Pipe()
	downloadEnd, downloadStart := io.Pipe()
	stop := context.AfterFunc(ctx, func() {
		// The download first: once the handler knows, it ends it as if complete.
		downloadStart.CloseWithError(context.Cause(ctx))
		uploadStart.CloseWithError(context.Cause(ctx))
		upload.close()
		gone()
	})

	if trace.WroteHeaders != nil {
		trace.WroteHeaders()
	}
	head := make(chan *http.Response, 1)
	uploadFailed := make(chan error, 1)
	in := serverRequest(serverCtx, req, uploadEnd)
	w := &responseWriter{request: req, noBody: in.Method == http.MethodHead, header: make(http.Header), head: head, body: downloadStart}
	go func() {
		defer gone()
		t.handler.ServeHTTP(w, in)
		w.finish()
		uploadEnd.CloseWithError(errAnswered)
	}()

	wrote := func(err error) {
		if trace.WroteRequest != nil {
			trace.WroteRequest(httptrace.WroteRequestInfo{Err: err})
		}
	}
	if req.Body == nil || req.Body == http.NoBody {
		uploadStart.Close()
		wrote(nil)
	} else {
		go func() {
			_, err := io.Copy(uploadStart, upload.body)
			if err != nil && !errors.Is(err, errAnswered) {
				uploadFailed <- err
				downloadStart.CloseWithError(err)
				gone()
			}
			uploadStart.CloseWithError(err)
			upload.close()
			wrote(err)
		}()
	}

	var res *http.Response
	select {
	case res = <-head:
	case <-ctx.Done():
	case err := <-uploadFailed:
		uploadFailed <- err
	}
	// A handler whose caller has left returns, and so answers: what ended the
	// exchange comes first.
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	select {
	case err := <-uploadFailed:
		stop()
		downloadEnd.Close()
		return nil, err
	default:
	}
	if trace.GotFirstResponseByte != nil {
		trace.GotFirstResponseByte()
	}
	res.Body = &responseBody{pipe: downloadEnd, stop: stop, gone: gone}
	return res, nil
}

// hostPort is the address that http.Transport would dial.
func hostPort(req *http.Request) string {
	port := req.URL.Port()
	switch {
	case port != "":
	case req.URL.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return net.JoinHostPort(req.URL.Hostname(), port)
}

// serverRequest is req as the other side of a connection sees it.
func serverRequest(ctx context.Context, req *http.Request, body io.ReadCloser) *http.Request {
	in := req.Clone(ctx)
	if in.Method == "" {
		in.Method = http.MethodGet
	}
	if in.Header == nil {
		in.Header = make(http.Header)
	}
	if in.Host == "" {
		in.Host = in.URL.Host
	}
	in.URL.Scheme, in.URL.Host, in.URL.User = "", "", nil
	if in.URL.Path == "" {
		in.URL.Path = "/"
	}
	in.RequestURI = in.URL.RequestURI()
	in.Proto, in.ProtoMajor, in.ProtoMinor = "HTTP/1.1", 1, 1
	in.RemoteAddr = "127.0.0.1:0"
	in.Body, in.GetBody, in.Response = body, nil, nil
	return in
}

// requestBody closes a request's body once, whoever comes first.
type requestBody struct {
	body io.ReadCloser
	once sync.Once
}

func (b *requestBody) close() {
	if b.body != nil {
		b.once.Do(func() { b.body.Close() })
	}
}

// responseBody lets go of the exchange when it is read to its end or closed.
type responseBody struct {
	pipe *io.PipeReader
	stop func() bool // the end of the caller's context no longer matters
	gone func()      // tells the handler that the caller has left
}

func (b *responseBody) Read(p []byte) (int, error) {
	n, err := b.pipe.Read(p)
	if err != nil {
		b.stop()
	}
	return n, err
}

func (b *responseBody) Close() error {
	b.stop()
	err := b.pipe.Close()
	b.gone()
	return err
}

// responseBuffer is how much of an answer is kept until it is flushed, in
// bytes, as by net/http.
const responseBuffer = 4096

// responseWriter is the handler's end of an exchange.
type responseWriter struct {
	request *http.Request // the caller's, only to be handed back
	noBody  bool          // it was a HEAD
	header  http.Header
	status  int                   // 0 until WriteHeader
	sent    http.Header           // header as it was then
	head    chan<- *http.Response // takes one; nil afterwards
	buffer  bytes.Buffer
	body    *io.PipeWriter
}

func (w *responseWriter) Header() http.Header { return w.header }

func (w *responseWriter) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	w.status, w.sent = status, w.header.Clone()
	if w.sent.Get("Date") == "" {
		w.sent.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
}

func (w *responseWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	switch {
	case w.status == http.StatusNoContent || w.status == http.StatusNotModified:
		return 0, http.ErrBodyNotAllowed
	case w.noBody:
		return len(p), nil
	}
	w.buffer.Write(p)
	if w.buffer.Len() > responseBuffer {
		return len(p), w.FlushError()
	}
	return len(p), nil
}

// FlushError sends what has been written. It waits for the caller to read it,
// and fails once the caller has left.
func (w *responseWriter) FlushError() error {
	w.WriteHeader(http.StatusOK)
	if w.head != nil {
		w.head <- w.response()
		w.head = nil
	}
	_, err := w.buffer.WriteTo(w.body)
	return err
}

// finish sends the rest, after the handler has returned.
func (w *responseWriter) finish() {
	w.WriteHeader(http.StatusOK)
	if w.head != nil && !w.noBody {
		w.sent.Set("Content-Length", strconv.Itoa(w.buffer.Len()))
	}
	err := w.FlushError()
	w.body.CloseWithError(err)
}

func (w *responseWriter) response() *http.Response {
	length, err := strconv.ParseInt(w.sent.Get("Content-Length"), 10, 64)
	if err != nil {
		length = -1
	}
	return &http.Response{
		Status:        strconv.Itoa(w.status) + " " + http.StatusText(w.status),
		StatusCode:    w.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        w.sent,
		ContentLength: length,
		Request:       w.request,
	}
}
