package gateway

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"
)

// pipeSpool returns a spool that is being filled from a pipe.
func pipeSpool(t testing.TB, inMemory, kept, most int64) (*spool, *io.PipeWriter, chan error) {
	t.Helper()
	r, w := io.Pipe()
	faults := make(chan error, 1)
	s := newSpool(r, func(err error) { faults <- err })
	s.inMemory, s.kept, s.max = inMemory, kept, most
	go s.fill()
	t.Cleanup(func() {
		w.Close()
		s.close()
	})
	return s, w, faults
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7 / 3)
	}
	return b
}

func TestSpoolRepeatsWhatItKept(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, size := range []int{0, 1, 4095, 4096, 9999, 10000, 10001, 50000, 99999, 100000} {
		s, w, _ := pipeSpool(t, 10000, 100000, 0)
		want := pattern(size)
		go func() {
			w.Write(want)
			w.Close()
		}()
		for attempt := 1; attempt <= 3; attempt++ {
			body, err := s.getBody()
			if err != nil {
				t.Fatalf("%d bytes, attempt %d: getBody = %v", size, attempt, err)
			}
			got, err := io.ReadAll(body)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, attempt %d: read %d bytes, %v", size, attempt, len(got), err)
			}
		}
		if inFile := s.inFile; (inFile > 0) != (size > 10000) {
			t.Errorf("%d bytes: %d of them in a file", size, inFile)
		}
		if names, _ := os.ReadDir(os.TempDir()); len(names) != 0 {
			t.Errorf("%d bytes: %v is left in the directory", size, names[0])
		}
	}
}

func TestSpoolTooLongIsOneAttempt(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, bounds := range [][2]int64{{0, 0}, {100, 100}, {100, 40000}} {
		s, w, _ := pipeSpool(t, bounds[0], bounds[1], 0)
		want := pattern(200000)
		go func() {
			w.Write(want)
			w.Close()
		}()
		early, _ := s.getBody() // an attempt that fails before what is not kept
		io.CopyN(io.Discard, early, bounds[1]/2)
		early.Close()
		body, err := s.getBody()
		if err != nil {
			t.Fatalf("keeping %v: a second attempt = %v, want one while nothing is lost", bounds, err)
		}
		late, _ := s.getBody()
		got, err := io.ReadAll(body)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("keeping %v: read %d bytes of %d, %v", bounds, len(got), len(want), err)
		}
		if _, err := io.ReadAll(late); !errors.Is(err, errNotKept) {
			t.Errorf("keeping %v: another reader = %v, want errNotKept", bounds, err)
		}
		if _, err := s.getBody(); !errors.Is(err, errNotKept) {
			t.Errorf("keeping %v: getBody = %v, want errNotKept", bounds, err)
		}
	}
}

func TestSpoolFullDiskIsOneAttempt(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()+"/missing") // no file can be made there
	s, w, _ := pipeSpool(t, 1000, 1<<20, 0)
	want := pattern(100000)
	go func() {
		w.Write(want)
		w.Close()
	}()
	body, _ := s.getBody()
	got, err := io.ReadAll(body)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d bytes of %d, %v", len(got), len(want), err)
	}
	if _, err := s.getBody(); !errors.Is(err, errNotKept) {
		t.Errorf("getBody = %v, want errNotKept", err)
	}
}

func TestSpoolRefusesMoreThanItsBound(t *testing.T) {
	for _, kept := range []int64{0, 100, 1 << 20} {
		s, w, faults := pipeSpool(t, min(kept, 50), kept, 5000)
		go w.Write(pattern(20000))
		body, _ := s.getBody()
		n, err := io.Copy(io.Discard, body)
		if !errors.Is(err, errBodyTooLarge) {
			t.Errorf("keeping %d: read %d bytes, %v, want errBodyTooLarge", kept, n, err)
		}
		if err := <-faults; !errors.Is(err, errBodyTooLarge) {
			t.Errorf("keeping %d: fault = %v, want errBodyTooLarge", kept, err)
		}
		w.CloseWithError(io.ErrClosedPipe)
	}
}

func TestSpoolPassesOnThatBodyBroke(t *testing.T) {
	s, w, faults := pipeSpool(t, 1000, 1000, 0)
	go func() {
		io.WriteString(w, "half")
		w.CloseWithError(io.ErrUnexpectedEOF)
	}()
	body, _ := s.getBody()
	got, err := io.ReadAll(body)
	if string(got) != "half" || !errors.Is(err, errBodyBroken) {
		t.Errorf("read %q, %v, want half and errBodyBroken", got, err)
	}
	if err := <-faults; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("fault = %v, want io.ErrUnexpectedEOF", err)
	}
}

func TestSpoolReadsWhileItGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		s := newSpool(r, func(error) {})
		s.inMemory, s.kept = 4, 8
		go s.fill()
		body := s.reader()
		for _, part := range []string{"ab", "c", "defgh", "ijkl", "m"} { // memory, file, and beyond
			got := make([]byte, len(part))
			read := make(chan error)
			go func() {
				_, err := io.ReadFull(body, got)
				read <- err
			}()
			synctest.Wait()
			select {
			case err := <-read:
				t.Fatalf("read %q, %v before %q was written", got, err, part)
			default:
			}
			io.WriteString(w, part)
			if err := <-read; err != nil || string(got) != part {
				t.Errorf("read %q, %v, want %q", got, err, part)
			}
		}
		w.Close()
		if n, err := body.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("at the end: %d, %v, want EOF", n, err)
		}
		s.close()
	})
}

func TestSpoolCloseEndsReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		s := newSpool(r, func(error) {})
		s.inMemory, s.kept = 4, 4
		go s.fill()
		var wg sync.WaitGroup
		closedFirst := s.reader()
		for _, body := range []*spoolReader{s.reader(), s.reader(), closedFirst} {
			wg.Go(func() {
				if n, err := body.Read(make([]byte, 1)); n != 0 || !errors.Is(err, errBodyEnded) {
					t.Errorf("Read = %d, %v, want errBodyEnded", n, err)
				}
			})
		}
		synctest.Wait()
		closedFirst.Close()
		synctest.Wait()
		go func() {
			synctest.Wait()
			w.Close() // what a read deadline does to a connection
		}()
		s.close()
		wg.Wait()
		if _, err := s.getBody(); !errors.Is(err, errBodyEnded) {
			t.Errorf("getBody = %v, want errBodyEnded", err)
		}
	})
}

// FuzzSpool has readers come, read and leave at random while a body comes in:
// each sees the body from its beginning, or an error.
func FuzzSpool(f *testing.F) {
	f.Add(uint64(1), uint16(100), uint16(10), uint16(50))
	f.Add(uint64(2), uint16(40000), uint16(5000), uint16(20000))
	f.Add(uint64(3), uint16(9000), uint16(0), uint16(9000))
	f.Add(uint64(4), uint16(0), uint16(0), uint16(0))
	f.Fuzz(func(t *testing.T, seed uint64, size, inMemory, kept uint16) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		want := pattern(int(size))
		r, w := io.Pipe()
		s := newSpool(r, func(err error) { t.Errorf("fault: %v", err) })
		s.inMemory, s.kept = int64(min(inMemory, kept)), int64(kept)
		go s.fill()
		go func(rnd *rand.Rand) {
			for rest := want; len(rest) > 0; {
				n := min(1+rnd.IntN(6000), len(rest))
				w.Write(rest[:n])
				rest = rest[n:]
			}
			w.Close()
		}(rand.New(rand.NewPCG(seed, 1)))

		var wg sync.WaitGroup
		for range 1 + rnd.IntN(3) {
			stop := rnd.IntN(int(size) + 1)
			whole := rnd.IntN(2) == 0
			wg.Go(func() {
				body, err := s.getBody()
				if err != nil {
					return
				}
				defer body.Close()
				var src io.Reader = body
				if !whole {
					src = io.LimitReader(body, int64(stop))
				}
				got, err := io.ReadAll(src)
				switch {
				case !bytes.HasPrefix(want, got):
					t.Errorf("seed %d: read %d bytes that differ", seed, len(got))
				case whole && err == nil && len(got) != len(want):
					t.Errorf("seed %d: the body ended after %d of %d bytes", seed, len(got), len(want))
				case err != nil && !errors.Is(err, errNotKept):
					t.Errorf("seed %d: %v", seed, err)
				case err != nil && size <= kept:
					t.Errorf("seed %d: %v, although %d bytes fit in %d", seed, err, size, kept)
				}
			})
		}
		wg.Wait()
		body, err := s.getBody() // somebody has to take the rest
		if err == nil {
			io.Copy(io.Discard, body)
		} else {
			io.Copy(io.Discard, r)
		}
		s.close()
	})
}
