package lease

import "slices"

// fill returns what each of those who have a stake in a limit of n should hold:
// the classes one after the other, max-min fair within each, and half of what
// nobody wants in equal parts, so that new calls find some.
//
// Whoever cannot start its first call with its part comes first once, the one
// that has waited longest.
func fill(n int64, stakes []*stake, turn int) []int64 {
	wants := make([][Classes]int64, len(stakes))
	for i, s := range stakes {
		wants[i] = s.want
	}
	targets, rest := level(n, wants, turn)
	if i := neediest(n, stakes, targets); i >= 0 {
		need := stakes[i].need
		left := need
		for class := range wants[i] {
			taken := min(left, wants[i][class])
			wants[i][class] -= taken
			left -= taken
		}
		targets, rest = level(n-need, wants, turn)
		targets[i] += need
	}
	for i := range targets {
		targets[i] += rest / 2 / int64(len(targets))
	}
	return targets
}

// neediest returns whose call has waited longest of those who need more than
// their part; -1 for nobody.
func neediest(n int64, stakes []*stake, targets []int64) int {
	first := -1
	for i, s := range stakes {
		if s.need <= targets[i] || s.need > n || s.since == 0 {
			continue
		}
		if first < 0 || s.since < stakes[first].since {
			first = i
		}
	}
	return first
}

// most returns what one of them would have if it wanted everything, with the
// urgency of its most urgent call.
func most(n int64, stakes []*stake, me, turn int) int64 {
	wants := make([][Classes]int64, len(stakes))
	for i, s := range stakes {
		wants[i] = s.want
	}
	class := 0
	for class < usual && wants[me][class] == 0 {
		class++
	}
	wants[me][class] = n
	targets, _ := level(n, wants, turn)
	return targets[me]
}

// usual is the class of calls that say nothing of their priority.
const usual = 3

// level pours n over what is wanted, and returns who gets how much, and what is
// left over.
func level(n int64, wants [][Classes]int64, turn int) (parts []int64, rest int64) {
	parts = make([]int64, len(wants))
	type demand struct {
		want int64
		turn int
		i    int
	}
	demands := make([]demand, 0, len(wants))
	for class := 0; class < Classes && n > 0; class++ {
		demands = demands[:0]
		for i := range wants {
			if want := wants[i][class]; want > 0 {
				demands = append(demands, demand{min(want, n), (i + turn) % len(wants), i})
			}
		}
		slices.SortFunc(demands, func(a, b demand) int {
			if a.want != b.want {
				return int(a.want - b.want)
			}
			return a.turn - b.turn
		})
		for k, d := range demands {
			part := min(d.want, n/int64(len(demands)-k))
			parts[d.i] += part
			n -= part
		}
	}
	return parts, n
}

// turnOf returns whose turn it is to get the odd ones, where they matter: over
// ten windows everybody's comes.
func turnOf(now, window, n int64, members int) int {
	if n/int64(members) >= 50 {
		return 0
	}
	every := max(window*10/int64(members), window, 1_000_000)
	return int(now / every % int64(members))
}

// wanted returns what a member wants, all classes together.
func (s *stake) wanted() int64 {
	var sum int64
	for _, want := range s.want {
		sum += want
	}
	return sum
}
