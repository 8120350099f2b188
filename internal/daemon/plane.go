package daemon

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"syscall"

	"github.com/headgate/headgate/internal/gateway"
)

// plane is a server on its listener.
type plane struct {
	name     string
	listener net.Listener
	server   *http.Server
	tls      bool // asked before serving: net/http changes the server then
}

func newPlane(name, address string, s *http.Server) (*plane, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, listenError(name, address, err)
	}
	return &plane{name: name, listener: l, server: s, tls: s.TLSConfig != nil}, nil
}

// serve blocks until the server is shut down, which is no error.
func (p *plane) serve() error {
	err := gateway.Serve(p.server, p.listener)
	if err == nil {
		return nil
	}
	return fmt.Errorf("serve the %s plane on %s: %w", p.name, p.listener.Addr(), err)
}

// close ends what is still open; twice does no harm.
func (p *plane) close() error {
	err := p.server.Close()
	// Server.Close knows the listener only once it serves.
	if lerr := p.listener.Close(); !errors.Is(lerr, net.ErrClosed) {
		err = errors.Join(err, lerr)
	}
	return err
}

// listenError says what to do about an address that cannot be listened on.
func listenError(name, address string, err error) error {
	where := map[string]string{
		Data:  "--listen, or listen in the file",
		Admin: "--admin, or admin in the file",
	}[name]
	advice := "choose another address with " + where
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		advice = "stop what listens there, or " + advice
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		advice = "no interface of this machine has it: " + advice
	case errors.Is(err, syscall.EACCES):
		advice = "ports below 1024 need a privilege: " + advice
	}
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		err = call.Err
	}
	return fmt.Errorf("listen on %s for the %s plane: %w; %s", address, name, err, advice)
}
