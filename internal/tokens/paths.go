package tokens

import (
	"strings"

	"github.com/headgate/headgate/internal/dialect"
)

// A slot is something that a document may tell.
type slot uint8

const (
	noSlot slot = iota

	// Of requests.
	modelSlot
	capSlot
	answersSlot
	streamSlot
	streamAskSlot

	// Of answers.
	totalSlot
	inputSlot
	moreSlot
	outputSlot
	errorSlot

	slots
)

// node is a member of JSON objects that is, or leads to, something to be found.
type node struct {
	name  string
	slot  slot  // noSlot if it only leads on
	rank  uint8 // among the paths of its slot: 1 counts before 2
	below []*node
}

func requestPaths(u dialect.Usage) *node {
	root := new(node)
	root.add(modelSlot, u.Model...)
	root.add(capSlot, u.Cap...)
	root.add(answersSlot, u.Answers...)
	root.add(streamSlot, "stream")
	if u.StreamAsk != "" {
		root.add(streamAskSlot, u.StreamAsk)
	}
	return root
}

func answerPaths(u dialect.Usage) *node {
	root := new(node)
	root.add(totalSlot, u.Total...)
	root.add(inputSlot, u.Input...)
	root.add(moreSlot, u.InputMore...)
	root.add(outputSlot, u.Output...)
	root.add(errorSlot, "error")
	return root
}

// add makes paths, members joined by dots, lead to a slot. A path that leads to
// another slot already is left alone.
func (n *node) add(to slot, paths ...string) {
	for i, path := range paths {
		at := n
		for name := range strings.SplitSeq(path, ".") {
			next := at.child([]byte(name))
			if next == nil {
				next = &node{name: name}
				at.below = append(at.below, next)
			}
			at = next
		}
		if at.slot == noSlot {
			at.slot, at.rank = to, uint8(i+1)
		}
	}
}

// child returns the member of that name; nil if nothing of it is wanted. There
// are never more than a few.
func (n *node) child(name []byte) *node {
	for _, c := range n.below {
		if c.name == string(name) {
			return c
		}
	}
	return nil
}
