package job

import (
	"net/url"
	"strings"
)

// Shown returns j as its users read it, in answers and callbacks: with the
// secrets of its URLs hidden, and a list of attempts that is one in JSON even
// when it is empty.
func (j Job) Shown() Job {
	if j.Attempts == nil {
		j.Attempts = []Attempt{}
	}
	j.Path, j.Callback = HideSecrets(j.Path), HideSecrets(j.Callback)
	return j
}

// secrets are the parameters by which APIs take credentials in a query, in lower
// case and without what separates words.
var secrets = map[string]bool{
	"key": true, "apikey": true, "xapikey": true, "accesskey": true, "subscriptionkey": true, "appkey": true,
	"token": true, "accesstoken": true, "apitoken": true, "authtoken": true, "sessiontoken": true,
	"secret": true, "clientsecret": true, "password": true, "auth": true, "authorization": true, "code": true,
	"sig": true, "signature": true, "xamzsignature": true, "xamzcredential": true, "xamzsecuritytoken": true,
	"xgoogsignature": true, "xgoogcredential": true,
}

var separators = strings.NewReplacer("-", "", "_", "", ".", "")

// HideSecrets returns a URL, or a path with its query, with *** for what its
// query has of credentials.
func HideSecrets(s string) string {
	before, query, ok := strings.Cut(s, "?")
	if !ok {
		return s
	}
	parts := strings.Split(query, "&")
	for i, part := range parts {
		name, value, _ := strings.Cut(part, "=")
		plain, err := url.QueryUnescape(name)
		if err != nil {
			plain = name
		}
		if value != "" && secrets[separators.Replace(strings.ToLower(plain))] {
			parts[i] = name + "=***"
		}
	}
	return before + "?" + strings.Join(parts, "&")
}
