package dialect

// modal answers a call that takes longer than 150 s with a 303 to an address at
// which its result can be polled, which is neither a throttle nor an error. What
// a function writes into fields of limits is the function's own.
var modal = &family{
	name:   "modal",
	remark: "303 leads to a result that takes long; fields of limits are not trusted",
	hosts:  []string{"*.modal.run"},
	limits: func(*answer) []Limit { return nil },
	preset: Preset{Limits: []string{"200/1s burst 1000"}},
}
