package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/rueidis"
)

// Durability is what becomes of stored jobs when the server dies.
type Durability struct {
	// Facts are of the server; in a cluster, of the master that keeps what it
	// is told the least safely.
	Facts Facts

	// Promise says in a sentence what is lost at worst, and Warnings what
	// should be changed, and how. Both are for people.
	Promise  string
	Warnings []string
}

// Durability asks the server how it keeps jobs.
func (j *Jobs) Durability(ctx context.Context) (Durability, error) {
	f, err := within(ctx, j.store, func(ctx context.Context, client rueidis.Client) (Facts, error) {
		var weakest Facts
		for addr, node := range client.Nodes() {
			f, err := j.store.probeNode(ctx, client, addr, node)
			if err != nil {
				return Facts{}, err
			}
			if weakest.Addr == "" || weakest.Role != "master" || f.Role == "master" && f.safety() < weakest.safety() {
				weakest = f
			}
		}
		if weakest.Addr == "" {
			return Facts{}, errors.New("no node known")
		}
		return weakest, nil
	})
	if err != nil {
		_, told := j.reading(err)
		return Durability{}, fmt.Errorf("ask for durability: %w", told)
	}
	return Durability{Facts: f, Promise: f.promise(), Warnings: f.warnings()}, nil
}

// How safely a server keeps what it is told, from the least on.
const (
	inMemory = iota
	inSnapshots
	unsynced
	syncedEachSecond
	synced
)

func (f *Facts) safety() int {
	switch {
	case f.AppendOnly && f.Fsync == "always":
		return synced
	case f.AppendOnly && f.Fsync == "everysec":
		return syncedEachSecond
	case f.AppendOnly:
		return unsynced
	case f.Save != "":
		return inSnapshots
	}
	return inMemory
}

func (f *Facts) promise() string {
	switch f.safety() {
	case synced:
		return "a job is on the disk of Redis before it is acknowledged: a crash loses nothing"
	case syncedEachSecond:
		return "a crash of Redis loses nothing, one of its machine the jobs and results of the last 1 to 2 seconds"
	case unsynced:
		return "a crash of Redis loses nothing, one of its machine what the system had not written yet: some 30 seconds"
	case inSnapshots:
		return "a crash loses all jobs and results since the last snapshot (save " + f.Save + ")"
	}
	return "jobs are in memory alone: when Redis ends they are lost"
}

func (f *Facts) warnings() (all []string) {
	if f.Role != "master" {
		all = append(all, f.Addr+" is a replica and takes no jobs: name the master, or its Sentinels")
	}
	switch f.safety() {
	case inMemory, inSnapshots:
		all = append(all, "no append-only file: set appendonly yes, and appendfsync always if no job may be lost with the machine")
	case unsynced:
		all = append(all, "appendfsync is "+orUnknown(f.Fsync)+": set it to everysec or always")
	}
	switch {
	case f.Eviction == "noeviction":
	case strings.HasPrefix(f.Eviction, "volatile-"):
		all = append(all, "maxmemory-policy "+f.Eviction+" deletes responses when memory is used up: set noeviction")
	default:
		all = append(all, "maxmemory-policy "+orUnknown(f.Eviction)+" may delete jobs when memory is used up: set noeviction")
	}
	if f.Replicas > 0 || f.Cluster != "" {
		all = append(all, "a failover loses what had not reached the replica that takes over: replication is asynchronous")
	}
	return all
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
