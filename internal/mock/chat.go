package mock

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// reply is what the model says, always: a token is a word of it.
const reply = "This is a mock upstream: it counted your call and found room for it."

// chunkEvery is the pace of streamed chat answers.
const chunkEvery = 30 * time.Millisecond

// chat is an understood call to a model, in either vendor's API.
type chat struct {
	model  string
	input  int64    // tokens: a quarter of the bytes of the request, rounded up
	output []string // tokens of the reply
	capped bool     // the reply was cut at the caller's maximum of tokens
}

func newChat(model string, body []byte, maxTokens *int64) chat {
	c := chat{model: model, input: (int64(len(body)) + 3) / 4, output: strings.SplitAfter(reply, " ")}
	if maxTokens != nil && *maxTokens < int64(len(c.output)) {
		c.output, c.capped = c.output[:*maxTokens], true
	}
	return c
}

// tokens is what the call weighs: what its answer reports as used, charged as
// it arrives.
func (c chat) tokens() int64 { return c.input + int64(len(c.output)) }

func (c chat) text() string { return strings.Join(c.output, "") }

// planChatCompletion reads a call of OpenAI's Chat Completions
// (platform.openai.com/docs/api-reference/chat).
func planChatCompletion(body []byte) answer {
	var req struct {
		Model               string `json:"model"`
		MaxTokens           *int64 `json:"max_tokens"`
		MaxCompletionTokens *int64 `json:"max_completion_tokens"`
		Stream              bool   `json:"stream"`
		StreamOptions       struct {
			IncludeUsage bool `json:"include_usage"`
		} `json:"stream_options"`
	}
	if err := json.Unmarshal(body, &req); err != nil {
		return badRequest(OpenAI, "The body is not a JSON object of this API: "+err.Error())
	}
	if req.MaxCompletionTokens != nil {
		req.MaxTokens = req.MaxCompletionTokens
	}
	if req.MaxTokens != nil && *req.MaxTokens < 1 {
		return badRequest(OpenAI, "max_tokens must be at least 1.")
	}
	c := newChat(req.Model, body, req.MaxTokens)
	return answer{OpenAI, c.tokens(), func(_ *Server, w http.ResponseWriter, r *http.Request, n int64) {
		if !req.Stream {
			writeJSON(w, http.StatusOK, c.completion(n))
			return
		}
		events := c.completionChunks(n, req.StreamOptions.IncludeUsage)
		stream(w, r, chunkEvery, len(events), func(i int) string { return events[i] })
	}}
}

func (c chat) completion(n int64) obj {
	body := c.completionHead(n, "chat.completion")
	body["choices"] = []obj{{
		"index":         0,
		"message":       obj{"role": "assistant", "content": c.text(), "refusal": nil},
		"logprobs":      nil,
		"finish_reason": c.finishReason(),
	}}
	body["usage"] = c.completionUsage()
	return body
}

// completionChunks are the server-sent events of a streamed completion.
func (c chat) completionChunks(n int64, withUsage bool) []string {
	var events []string
	add := func(choices []obj, usage any) {
		chunk := c.completionHead(n, "chat.completion.chunk")
		chunk["choices"] = choices
		if withUsage {
			chunk["usage"] = usage
		}
		events = append(events, "data: "+encode(chunk)+"\n\n")
	}
	delta := func(d obj, finish any) []obj {
		return []obj{{"index": 0, "delta": d, "logprobs": nil, "finish_reason": finish}}
	}
	add(delta(obj{"role": "assistant", "content": ""}, nil), nil)
	for _, token := range c.output {
		add(delta(obj{"content": token}, nil), nil)
	}
	add(delta(obj{}, c.finishReason()), nil)
	if withUsage {
		add([]obj{}, c.completionUsage())
	}
	return append(events, "data: [DONE]\n\n")
}

func (c chat) completionHead(n int64, object string) obj {
	return obj{"id": fmt.Sprintf("chatcmpl-mock-%d", n), "object": object, "created": time.Now().Unix(), "model": c.model}
}

func (c chat) completionUsage() obj {
	return obj{"prompt_tokens": c.input, "completion_tokens": len(c.output), "total_tokens": c.tokens()}
}

func (c chat) finishReason() string {
	if c.capped {
		return "length"
	}
	return "stop"
}

// planMessage reads a call of Anthropic's Messages
// (docs.anthropic.com/en/api/messages, .../messages-streaming).
func planMessage(body []byte) answer {
	var req struct {
		Model     string `json:"model"`
		MaxTokens *int64 `json:"max_tokens"`
		Stream    bool   `json:"stream"`
	}
	if err := json.Unmarshal(body, &req); err != nil {
		return badRequest(Anthropic, "The body is not a JSON object of this API: "+err.Error())
	}
	if req.MaxTokens != nil && *req.MaxTokens < 1 {
		return badRequest(Anthropic, "max_tokens: must be at least 1")
	}
	c := newChat(req.Model, body, req.MaxTokens)
	return answer{Anthropic, c.tokens(), func(_ *Server, w http.ResponseWriter, r *http.Request, n int64) {
		if !req.Stream {
			writeJSON(w, http.StatusOK, c.message(n))
			return
		}
		events := c.messageEvents(n)
		stream(w, r, chunkEvery, len(events), func(i int) string { return events[i] })
	}}
}

func (c chat) message(n int64) obj {
	return obj{
		"id": fmt.Sprintf("msg_mock_%d", n), "type": "message", "role": "assistant", "model": c.model,
		"content":     []obj{{"type": "text", "text": c.text()}},
		"stop_reason": c.stopReason(), "stop_sequence": nil,
		"usage": obj{"input_tokens": c.input, "output_tokens": len(c.output)},
	}
}

// messageEvents are the server-sent events of a streamed message.
func (c chat) messageEvents(n int64) []string {
	var events []string
	add := func(name string, data obj) {
		data["type"] = name
		events = append(events, "event: "+name+"\ndata: "+encode(data)+"\n\n")
	}
	start := c.message(n)
	start["content"], start["stop_reason"] = []obj{}, nil
	start["usage"] = obj{"input_tokens": c.input, "output_tokens": 1}

	add("message_start", obj{"message": start})
	add("content_block_start", obj{"index": 0, "content_block": obj{"type": "text", "text": ""}})
	add("ping", obj{})
	for _, token := range c.output {
		add("content_block_delta", obj{"index": 0, "delta": obj{"type": "text_delta", "text": token}})
	}
	add("content_block_stop", obj{"index": 0})
	add("message_delta", obj{
		"delta": obj{"stop_reason": c.stopReason(), "stop_sequence": nil},
		"usage": obj{"output_tokens": len(c.output)},
	})
	add("message_stop", obj{})
	return events
}

func (c chat) stopReason() string {
	if c.capped {
		return "max_tokens"
	}
	return "end_turn"
}
