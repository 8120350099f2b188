package redistest

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// commandTimeout bounds one command: long enough for a machine under load,
// short enough to notice a stopped server.
const commandTimeout = 5 * time.Second

// run runs one command over a connection of its own, so that no connection
// outlives the server's death unnoticed.
func (s *Server) run(args []string) (string, error) {
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress:           []string{s.Addr},
		Username:              s.settings.user,
		Password:              s.settings.password,
		Dialer:                net.Dialer{Timeout: commandTimeout},
		ConnWriteTimeout:      commandTimeout,
		ForceSingleClient:     true,
		AlwaysRESP2:           true, // answers have the order and form of redis-cli's
		DisableCache:          true,
		DisableRetry:          true,
		DisableAutoPipelining: true,
		ReadBufferEachConn:    4 << 10,
		WriteBufferEachConn:   4 << 10,
	})
	if err != nil {
		return "", err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	answer, err := client.Do(ctx, client.B().Arbitrary(args...).Build()).ToAny()
	if err != nil && !rueidis.IsRedisNil(err) {
		return "", err
	}
	return text(answer), nil
}

// text writes an answer as redis-cli does to a pipe.
func text(answer any) string {
	switch answer := answer.(type) {
	case nil:
		return ""
	case []any:
		lines := make([]string, len(answer))
		for i, element := range answer {
			lines[i] = text(element)
		}
		return strings.Join(lines, "\n")
	default: // string, int64, or an error inside an array
		return fmt.Sprint(answer)
	}
}

// field returns the value of a line "name:value" of INFO or CLUSTER INFO, ""
// if there is none.
func field(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
