package batch

import (
	"context"
	"io"
)

// pipe reads from what cannot be interrupted, such as a terminal, until a context
// ends. Its goroutine ends with what it reads from.
type pipe struct {
	ctx    context.Context
	chunks chan chunk
	rest   chunk
}

type chunk struct {
	p   []byte
	err error
}

func newPipe(ctx context.Context, r io.Reader) *pipe {
	p := &pipe{ctx: ctx, chunks: make(chan chunk)}
	go func() {
		for {
			buf := make([]byte, 64<<10)
			n, err := r.Read(buf)
			select {
			case p.chunks <- chunk{buf[:n], err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return p
}

func (p *pipe) Read(b []byte) (int, error) {
	for len(p.rest.p) == 0 {
		if p.rest.err != nil {
			return 0, p.rest.err
		}
		select {
		case p.rest = <-p.chunks:
		case <-p.ctx.Done():
			return 0, context.Cause(p.ctx)
		}
	}
	n := copy(b, p.rest.p)
	p.rest.p = p.rest.p[n:]
	return n, nil
}
