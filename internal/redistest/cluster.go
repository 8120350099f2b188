package redistest

import (
	"fmt"
	"net"
	"strconv"
	"testing"
)

const (
	masters = 3
	slots   = 16384 // Redis Cluster specification, "Key distribution model"
)

// Cluster is a Redis Cluster of three masters without replicas. The slots are
// dealt in three equal runs, in the order of Addrs.
type Cluster struct {
	// Addrs are where the nodes listen.
	Addrs []string

	tb    testing.TB
	nodes []*Server
}

// StartCluster starts a cluster and returns when all nodes serve all slots;
// that takes over 2 s, because a new master waits so long before it takes
// writes. Options hold for every node.
func StartCluster(tb testing.TB, opts ...Option) *Cluster {
	tb.Helper()
	c := &Cluster{tb: tb}
	settings := newSettings(opts)
	// A node is taken for dead after 1 s without an answer, not 15.
	settings.lines = append(settings.lines, "cluster-enabled yes", "cluster-node-timeout 1000")
	for i := range masters {
		node := launch(tb, settings)
		node.CLI(addSlots(i)...)
		node.CLI("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1)) // unique, else nodes argue
		c.nodes = append(c.nodes, node)
		c.Addrs = append(c.Addrs, node.Addr)
	}
	for _, addr := range c.Addrs[1:] {
		host, port, _ := net.SplitHostPort(addr)
		c.nodes[0].CLI("CLUSTER", "MEET", host, port)
	}
	c.WaitOK()
	return c
}

// Node returns a node, in the order of Addrs.
func (c *Cluster) Node(i int) *Server { return c.nodes[i] }

// WaitOK returns when every node knows all others and says that the cluster
// serves all slots. A node that was killed and restarted needs it, and so do
// the others, who stop serving some time after its death.
func (c *Cluster) WaitOK() {
	c.tb.Helper()
	await(c.tb, "cluster", func() error {
		for _, node := range c.nodes {
			if err := node.clusterOK(); err != nil {
				return fmt.Errorf("node %s: %w", node.Addr, err)
			}
		}
		return nil
	})
}

func (s *Server) clusterOK() error {
	info, err := s.run([]string{"CLUSTER", "INFO"})
	if err != nil {
		return err
	}
	if field(info, "cluster_state") != "ok" || field(info, "cluster_size") != strconv.Itoa(masters) {
		return fmt.Errorf("CLUSTER INFO says\n%s", info)
	}
	return nil
}

// addSlots returns the command that gives node i its slots, one by one:
// ADDSLOTSRANGE is not in Redis 6.2.
func addSlots(i int) []string {
	command := []string{"CLUSTER", "ADDSLOTS"}
	for slot := i * slots / masters; slot < (i+1)*slots/masters; slot++ {
		command = append(command, strconv.Itoa(slot))
	}
	return command
}
