package daemon

import (
	"reflect"
	"strings"

	"github.com/headgate/headgate/config"
)

// reload puts the file as it is now in force, or says why not, and leaves the
// old configuration in force. A file that says what it said before is passed
// over, unless somebody asked.
func (d *daemon) reload(asked bool) {
	if d.options.File == "" {
		d.log.Warn("nothing to reload: the configuration is not from a file")
		return
	}
	loaded, err := d.options.Load()
	if err != nil {
		d.refuse(err)
		return
	}
	if !asked && reflect.DeepEqual(loaded, d.loaded) {
		return
	}
	next, fixed := keepFixed(d.config, loaded.WithDefaults())
	if err := d.gate.Reload(next); err != nil {
		d.refuse(err)
		return
	}
	if err := d.gateway.Reload(next); err != nil {
		d.refuse(err)
		if err := d.gate.Reload(d.config); err != nil {
			d.refuse(err)
		}
		return
	}
	if err := d.log.SetLevel(next.Log.Level); err != nil {
		d.refuse(err)
	}
	d.admin.SetKey(next.AdminKey)
	d.loaded, d.config = loaded, next
	d.inForce.Store(&next)
	if err := d.sources.reload(next.Sources); err != nil {
		d.refuse(err)
	}
	if len(fixed) > 0 {
		d.log.Warn("reloaded, but for what needs a restart", "file", d.options.File, "restart", strings.Join(fixed, ","))
		return
	}
	d.log.Info("reloaded", "file", d.options.File)
}

// refuse writes one line for each fault.
func (d *daemon) refuse(err error) {
	for fault := range strings.SplitSeq(err.Error(), "\n") {
		d.log.Error("reload refused; the old configuration stays in force", "file", d.options.File, "error", fault)
	}
}

// keepFixed returns next with what cannot change in a running process as it is
// in force, and names what of it next would change.
func keepFixed(inForce, next config.Config) (config.Config, []string) {
	var fixed []string
	keep := func(name string, to *string, from string) {
		if *to != from {
			fixed = append(fixed, name)
			*to = from
		}
	}
	keep("listen", &next.Listen, inForce.Listen)
	keep("admin", &next.Admin, inForce.Admin)
	keep("state", &next.State, inForce.State)
	keep("namespace", &next.Namespace, inForce.Namespace)
	keep("on_store_loss", &next.OnStoreLoss, inForce.OnStoreLoss)
	keep("jobs", &next.Jobs, inForce.Jobs)
	if next.Retention != inForce.Retention {
		fixed = append(fixed, "retention")
		next.Retention = inForce.Retention
	}
	if !reflect.DeepEqual(next.Callbacks, inForce.Callbacks) {
		fixed = append(fixed, "callbacks")
		next.Callbacks = inForce.Callbacks
	}
	keep("log.format", &next.Log.Format, inForce.Log.Format)
	// A certificate may be renewed and moved; a listener has TLS or has not.
	if (next.TLS == config.TLS{}) != (inForce.TLS == config.TLS{}) {
		fixed = append(fixed, "tls")
		next.TLS = inForce.TLS
	}
	return next, fixed
}
