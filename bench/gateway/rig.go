//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// rig is everything that is started to measure with.
type rig struct {
	dir, nginx, headgate string
	pinned               bool
	env                  []string // of Go programs
	upstream             string   // host:port
	fronts               []*front
	processes            []*process
}

// front is what calls go through to the upstream.
type front struct {
	name    string
	addr    string
	process *process
}

// baseline is the front that others are compared with.
const baseline = "nginx"

// findNginx returns the path of nginx: Debian keeps it from users' PATH.
func findNginx() (string, error) {
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("nginx is not installed: apt-get install nginx-light")
}

// pinLoad moves this process to its core, and reports whether it could:
// whether processes can be pinned at all.
func pinLoad() bool {
	if runtime.NumCPU() < 2 {
		return false
	}
	if exec.Command("taskset", "-a", "-c", "-p", loadCPU, fmt.Sprint(os.Getpid())).Run() != nil {
		return false
	}
	runtime.GOMAXPROCS(1)
	return true
}

// unpinLoad undoes what pinLoad did.
func unpinLoad() {
	_ = exec.Command("taskset", "-a", "-c", "-p", fmt.Sprintf("0-%d", runtime.NumCPU()-1), fmt.Sprint(os.Getpid())).Run() // it fails only if pinLoad did
	runtime.GOMAXPROCS(runtime.NumCPU())
}

// start starts a program on a core, if it may be pinned. Its output goes to a
// file of that name.
func (g *rig) start(ctx context.Context, name, cpu, addr string, env []string, command ...string) (*process, error) {
	if !g.pinned {
		cpu = ""
	}
	p, err := start(ctx, filepath.Join(g.dir, name+".log"), cpu, addr, env, command...)
	if err == nil {
		g.processes = append(g.processes, p)
	}
	return p, err
}

// end stops a process before the others.
func (g *rig) end(p *process) {
	p.stop()
	g.processes = slices.DeleteFunc(g.processes, func(other *process) bool { return other == p })
}

func (g *rig) stop() {
	for _, p := range slices.Backward(g.processes) {
		p.stop()
	}
}

func (g *rig) startUpstream(ctx context.Context) error {
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	g.upstream = addr
	_, err = g.startNginx(ctx, "upstream", loadCPU, addr, fmt.Sprintf(upstreamConf, addr, answer()))
	return err
}

func (g *rig) startFronts(ctx context.Context) error {
	for _, f := range []struct {
		name  string
		start func(ctx context.Context, addr string) (*process, error)
	}{
		{baseline, func(ctx context.Context, addr string) (*process, error) {
			return g.startNginx(ctx, "nginx", frontCPU, addr, fmt.Sprintf(proxyConf, g.upstream, addr))
		}},
		{"httputil.ReverseProxy", g.startReverseProxy},
		{"headgate serve", func(ctx context.Context, addr string) (*process, error) {
			return g.startHeadgate(ctx, addr, "127.0.0.1:0", "--limit", "1000000/1s")
		}},
	} {
		addr, err := freeAddr()
		if err != nil {
			return err
		}
		p, err := f.start(ctx, addr)
		if err != nil {
			return err
		}
		g.fronts = append(g.fronts, &front{f.name, addr, p})
	}
	return nil
}

// startHeadgate starts headgate with its defaults but for what flags say.
func (g *rig) startHeadgate(ctx context.Context, addr, admin string, flags ...string) (*process, error) {
	command := append([]string{g.headgate, "serve", "--upstream", "http://" + g.upstream, "--listen", addr, "--admin", admin}, flags...)
	return g.start(ctx, "headgate", frontCPU, addr, g.env, command...)
}

func (g *rig) startReverseProxy(ctx context.Context, addr string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return g.start(ctx, "reverseproxy", frontCPU, addr, g.env, self, reverseProxyCommand, addr, "http://"+g.upstream)
}

// startNginx starts nginx with one worker and these http directives.
func (g *rig) startNginx(ctx context.Context, name, cpu, addr, directives string) (*process, error) {
	conf := filepath.Join(g.dir, name+".conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, filepath.Join(g.dir, name), directives), 0o600); err != nil {
		return nil, err
	}
	return g.start(ctx, name, cpu, addr, nil, g.nginx, "-p", g.dir, "-e", "stderr", "-c", conf)
}

// nginxConf has a place for files and the http directives. Connections are
// never closed for their age: the others don't do that either.
const nginxConf = `daemon off;
worker_processes 1;
error_log stderr;
pid %[1]s.pid;
events { worker_connections 4096; }
http {
	access_log off;
	keepalive_requests 1000000000;
	client_body_temp_path %[1]s.body;
	proxy_temp_path %[1]s.proxy;
	fastcgi_temp_path %[1]s.fastcgi;
	uwsgi_temp_path %[1]s.uwsgi;
	scgi_temp_path %[1]s.scgi;
%[2]s}
`

// upstreamConf answers everything from memory.
const upstreamConf = `	server {
		listen %s;
		default_type application/json;
		location / { return 200 '%s'; }
	}
`

const proxyConf = `	upstream api {
		server %s;
		keepalive 256;
		keepalive_requests 1000000000;
	}
	server {
		listen %s;
		location / {
			proxy_pass http://api;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
		}
	}
`

// answerSize is what the upstream answers, in bytes.
const answerSize = 1024

func answer() string {
	const head, tail = `{"id":"item-42","text":"`, `"}`
	return head + strings.Repeat("x", answerSize-len(head)-len(tail)) + tail
}
