package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

const (
	redisStarts  = 3 // somebody may take the port that was free
	redisTimeout = 10 * time.Second
	redisPoll    = 10 * time.Millisecond
)

var (
	errNoRedis = errors.New(`--instances needs a Redis, and neither redis-server nor valkey-server is in PATH; get one with
  apt-get install redis-server
  brew install valkey
or run one elsewhere and name it with --state redis://localhost:6379, such as
  docker run --rm -p 6379:6379 valkey/valkey`)

	errRedisExited = errors.New("it exited")
)

// redisServer is a Redis server of the demo's own: on a free port of loopback,
// without persistence. It must be closed.
type redisServer struct {
	addr string
	dir  string // goes with it
	cmd  *exec.Cmd
	gone chan struct{} // closed when it has ended
	out  bytes.Buffer  // what it wrote; read after gone
}

// startRedis returns a server that takes connections.
func startRedis(ctx context.Context) (*redisServer, error) {
	program, err := findRedis()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	for start := 1; ; start++ {
		r, err := launchRedis(ctx, program)
		if err == nil {
			return r, nil
		}
		if start == redisStarts || !errors.Is(err, errRedisExited) {
			return nil, fmt.Errorf("start %s: %w", program, err)
		}
	}
}

func findRedis() (program string, err error) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		if program, err = exec.LookPath(name); err == nil {
			return program, nil
		}
	}
	return "", errNoRedis
}

func launchRedis(ctx context.Context, program string) (*redisServer, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "headgate-demo-")
	if err != nil {
		return nil, err
	}
	r := &redisServer{addr: addr.String(), dir: dir, gone: make(chan struct{})}
	r.cmd = exec.Command(program, "--bind", "127.0.0.1", "--port", fmt.Sprint(addr.Port),
		"--save", "", "--appendonly", "no", "--dir", dir)
	r.cmd.Dir, r.cmd.Stdout, r.cmd.Stderr = dir, &r.out, &r.out
	r.cmd.SysProcAttr = ownProcess()
	if err := r.start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := r.answers(ctx); err != nil {
		err = errors.Join(err, r.close())
		if errors.Is(err, errRedisExited) {
			lines := strings.Split(strings.TrimSpace(r.out.String()), "\n")
			err = fmt.Errorf("%w: %s", err, lines[len(lines)-1])
		}
		return nil, err
	}
	return r, nil
}

// freeAddr returns an address of loopback that nobody listens on.
func freeAddr() (*net.TCPAddr, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return l.Addr().(*net.TCPAddr), l.Close()
}

func (r *redisServer) start() error {
	started := make(chan error)
	go func() {
		// Linux takes the end of the starting thread for that of the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := r.cmd.Start()
		started <- err
		if err == nil {
			_ = r.cmd.Wait() // it is killed: its status says nothing new
			close(r.gone)
		}
	}()
	return <-started
}

// answers waits until the server takes connections.
func (r *redisServer) answers(ctx context.Context) error {
	var d net.Dialer
	for {
		conn, err := d.DialContext(ctx, "tcp", r.addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-r.gone:
			return errRedisExited
		default:
		}
		if !pause(ctx, redisPoll) {
			return context.Cause(ctx)
		}
	}
}

// close ends the server and leaves nothing behind.
func (r *redisServer) close() error {
	_ = r.cmd.Process.Kill() // fails only if it has ended
	<-r.gone
	return os.RemoveAll(r.dir)
}
