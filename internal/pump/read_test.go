package pump

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/iotest"

	"github.com/headgate/headgate"
)

func TestReadAllKeepsToItsBound(t *testing.T) {
	const most = 5000
	for _, size := range []int{0, 1, 510, 511, 512, 513, 4999, 5000, 5001, 20000} {
		sent := bytes.Repeat([]byte("x"), size)
		for _, said := range []int64{-1, 0, 1, int64(size), int64(size) + 1, 1 << 40} {
			for name, r := range map[string]io.Reader{
				"whole": bytes.NewReader(sent), "bytewise": iotest.OneByteReader(bytes.NewReader(sent)), "with its end": iotest.DataErrReader(bytes.NewReader(sent)),
			} {
				got, err := readAll(r, said, most)
				if size > most {
					if !errors.Is(err, ErrBodyTooLong) {
						t.Errorf("%d bytes, said %d, %s: %v, want ErrBodyTooLong", size, said, name, err)
					}
				} else if err != nil || !bytes.Equal(got, sent) {
					t.Errorf("%d bytes, said %d, %s: read %d, %v", size, said, name, len(got), err)
				}
			}
		}
	}
	broken := io.MultiReader(bytes.NewReader([]byte("x")), iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, err := readAll(broken, -1, most); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a body that breaks off: %v, want %v", err, io.ErrUnexpectedEOF)
	}
}

// failing is a feed that ends with an error.
type failing struct {
	many
	err error
}

func (f *failing) Next(ctx context.Context) (Item, error) {
	if len(f.items) == 0 {
		return nil, f.err
	}
	return f.many.Next(ctx)
}

func TestRunReturnsWhatEndedItsFeed(t *testing.T) {
	broken := errors.New("broken")
	for feed, want := range map[error]error{io.EOF: nil, broken: broken} {
		items := make([]Item, 500)
		for i := range items {
			items[i] = &ending{}
		}
		p := New(headgate.Transport(headgate.Limit("1000000/1s"), headgate.Base(tripper(func(*http.Request) (*http.Response, error) {
			return answered(200), nil
		}))), Options{})
		if err := p.Run(t.Context(), t.Context(), &failing{many{items}, feed}); err != want {
			t.Errorf("Run of a feed that ends with %v = %v, want %v", feed, err, want)
		}
		for i, item := range items {
			if r := item.(*ending).result; r.Response == nil || string(r.Response.Body) != "{}" {
				t.Fatalf("item %d: %+v, want its answer", i, r)
			}
		}
		if a := p.ahead; a.mu.items != 0 || a.mu.without != 0 {
			t.Errorf("%d items and %d without a permit are left, want none", a.mu.items, a.mu.without)
		}
	}
}
