package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// demoResult is what was measured of one half. Attempts, 429s and usage are
// the judge's; calls and times are the callers'. Numbers that nothing was
// measured for are nil.
type demoResult struct {
	Wanted             int      `json:"wanted"`
	Answered           int      `json:"answered"`
	Lost               int      `json:"lost"`
	Unfinished         int      `json:"unfinished"` // when the half was over
	Attempts           int64    `json:"attempts"`
	Throttled          int64    `json:"throttled"` // 429s
	AttemptsPerSuccess *float64 `json:"attempts_per_success"`
	Usage              float64  `json:"usage"` // of the quota, 0 to 1
	P50MS              *int64   `json:"p50_ms"`
	P99MS              *int64   `json:"p99_ms"`

	Instances []demoShare `json:"instances,omitempty"` // through the gate, if there are several
	MaxMin    *float64    `json:"max_min,omitempty"`   // the most calls of an instance ÷ the least
}

// demoShare is what the callers got through one instance.
type demoShare struct {
	Calls int     `json:"calls"` // answered
	Share float64 `json:"share"` // of those of all instances, 0 to 1
}

func (v demoView) result() *demoResult {
	r := &demoResult{
		Wanted:     v.calls.wanted,
		Answered:   v.calls.answered,
		Lost:       v.calls.lost,
		Unfinished: v.calls.unfinished(),
		Attempts:   v.judge.Arrivals,
		Throttled:  v.judge.Refused,
		Usage:      v.usage(),
	}
	if v.judge.Accepted > 0 {
		per := float64(v.judge.Arrivals) / float64(v.judge.Accepted)
		r.AttemptsPerSuccess = &per
	}
	for q, to := range map[float64]**int64{0.5: &r.P50MS, 0.99: &r.P99MS} {
		if took, ok := v.calls.quantile(q); ok {
			ms := took.Milliseconds()
			*to = &ms
		}
	}
	return r
}

// divide says how the calls were shared out among instances.
func (r *demoResult) divide(by []int) {
	for _, calls := range by {
		s := demoShare{Calls: calls}
		if r.Answered > 0 {
			s.Share = float64(calls) / float64(r.Answered)
		}
		r.Instances = append(r.Instances, s)
	}
	if least := slices.Min(by); least > 0 {
		ratio := float64(slices.Max(by)) / float64(least)
		r.MaxMin = &ratio
	}
}

// print writes the halves side by side. One that never began is null in JSON.
func (d *demoRun) print(w io.Writer, asJSON bool) error {
	var both [2]*demoResult
	for i, v := range d.views() {
		both[i] = v.result()
		if i == 1 && d.instances.count > 0 {
			both[i].divide(v.calls.by)
		}
	}
	if asJSON {
		return json.NewEncoder(w).Encode(struct {
			Limit   string      `json:"limit"`
			Around  *demoResult `json:"around"`
			Through *demoResult `json:"through"`
		}{d.limit.String(), both[0], both[1]})
	}
	return printDemoTable(w, d.limit.String(), both)
}

var demoRows = []struct {
	name string
	cell func(*demoResult) string
}{
	{"calls wanted", func(r *demoResult) string { return fmt.Sprint(r.Wanted) }},
	{"answered", func(r *demoResult) string { return fmt.Sprint(r.Answered) }},
	{"lost", func(r *demoResult) string { return fmt.Sprint(r.Lost) }},
	{"unfinished at the end", func(r *demoResult) string { return fmt.Sprint(r.Unfinished) }},
	{"attempts", func(r *demoResult) string { return fmt.Sprint(r.Attempts) }},
	{"429s", func(r *demoResult) string { return fmt.Sprint(r.Throttled) }},
	{"attempts per success", func(r *demoResult) string {
		if r.AttemptsPerSuccess == nil {
			return "–"
		}
		return fmt.Sprintf("%.2f", *r.AttemptsPerSuccess)
	}},
	{"usage of the quota", func(r *demoResult) string { return fmt.Sprintf("%.1f %%", 100*r.Usage) }},
	{"p50", func(r *demoResult) string { return seconds(r.P50MS) }},
	{"p99", func(r *demoResult) string { return seconds(r.P99MS) }},
}

func printDemoTable(w io.Writer, limit string, both [2]*demoResult) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "%s\taround the gate\tthrough the gate\t\n", limit)
	for _, row := range demoRows {
		fmt.Fprintf(t, "%s\t", row.name)
		for _, r := range both {
			cell := "–"
			if r != nil {
				cell = row.cell(r)
			}
			fmt.Fprintf(t, "%s\t", cell)
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil || both[1] == nil || both[1].Instances == nil {
		return err
	}
	return printDemoShares(w, both[1])
}

func printDemoShares(w io.Writer, r *demoResult) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\ninstance\tcalls\tshare\t\n")
	for i, s := range r.Instances {
		fmt.Fprintf(t, "%d\t%d\t%.1f %%\t\n", i+1, s.Calls, 100*s.Share)
	}
	ratio := "–"
	if r.MaxMin != nil {
		ratio = fmt.Sprintf("%.2f", *r.MaxMin)
	}
	fmt.Fprintf(t, "max/min\t%s\t\n", ratio)
	return t.Flush()
}

func seconds(ms *int64) string {
	if ms == nil {
		return "–"
	}
	return fmt.Sprintf("%.2f s", (time.Duration(*ms) * time.Millisecond).Seconds())
}
