"""A model API of both dialects that answers what a test tells it to, on real sockets, and remembers what it was sent."""

import http.server
import json
import threading
import time

CHAT_TEXT = "Four, of course."
REASONING = "Two and two make four."
SUMMARY = "The notes add two numbers."


def chat_answer(body):
    message = {"role": "assistant", "content": CHAT_TEXT, "reasoning_content": REASONING}
    if body["messages"][0]["role"] == "system" and body["messages"][0]["content"].startswith("Summarise"):
        message = {"role": "assistant", "content": SUMMARY if body["messages"][1]["content"] == REASONING else "?"}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    if body.get("logprobs"):
        choice["logprobs"] = {"content": [{"token": "Four", "logprob": -0.1, "bytes": [70], "top_logprobs": []}]}
    if body.get("tools"):
        message["tool_calls"] = [{"id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{\"a\":2}"}}]
        choice["finish_reason"] = "tool_calls"
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice],
            "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18,
                      "completion_tokens_details": {"reasoning_tokens": 3}}}


def chat_stream(body):
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
    usage = {"usage": None} if (body.get("stream_options") or {}).get("include_usage") else {}
    for delta in ({"role": "assistant", "content": ""}, {"reasoning_content": REASONING}, {"content": "Four"},
                  {"content": ", of course."}):
        yield None, {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}], **usage}
    yield None, {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], **usage}
    if usage:
        yield None, {**base, "choices": [], "usage": chat_answer(body)["usage"]}
    yield None, "[DONE]"


def responses_answer(body):
    return {"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": body["model"],
            "output": [{"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": REASONING}],
                        "encrypted_content": "upstream-secret-blob"},
                       {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
                        "content": [{"type": "output_text", "text": CHAT_TEXT, "annotations": []}]}],
            "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
            "usage": {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18, "input_tokens_details": {"cached_tokens": 0},
                      "output_tokens_details": {"reasoning_tokens": 3}}}


def responses_stream(body):
    whole = responses_answer(body)
    number = 0

    def event(kind, **fields):
        nonlocal number
        number += 1
        return kind, {"type": kind, "sequence_number": number - 1, **fields}

    yield event("response.created", response={**whole, "status": "in_progress", "output": [], "usage": None})
    reasoning, message = whole["output"]
    yield event("response.output_item.added", output_index=0, item={**reasoning, "summary": []})
    yield event("response.reasoning_summary_text.delta", item_id="rs_1", output_index=0, summary_index=0, delta=REASONING)
    yield event("response.output_item.done", output_index=0, item=reasoning)
    yield event("response.output_item.added", output_index=1, item={**message, "content": [], "status": "in_progress"})
    yield event("response.content_part.added", item_id="msg_1", output_index=1, content_index=0,
                part={"type": "output_text", "text": "", "annotations": []})
    for delta in ("Four", ", of course."):
        yield event("response.output_text.delta", item_id="msg_1", output_index=1, content_index=0, delta=delta, logprobs=[])
    yield event("response.output_text.done", item_id="msg_1", output_index=1, content_index=0, text=CHAT_TEXT, logprobs=[])
    yield event("response.output_item.done", output_index=1, item=message)
    yield event("response.completed", response=whole)


def message_answer(body):
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"],
            "content": [{"type": "thinking", "thinking": REASONING, "signature": "upstream-signature"},
                        {"type": "text", "text": CHAT_TEXT}],
            "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 11, "output_tokens": 7}}


def message_stream(body):
    def event(kind, **fields):
        return kind, {"type": kind, **fields}

    yield event("message_start", message={**message_answer(body), "content": [], "stop_reason": None,
                                          "usage": {"input_tokens": 11, "output_tokens": 1}})
    yield event("content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""})
    yield event("ping")
    yield event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": REASONING})
    yield event("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "upstream-signature"})
    yield event("content_block_stop", index=0)
    yield event("content_block_start", index=1, content_block={"type": "text", "text": ""})
    for text in ("Four", ", of course."):
        yield event("content_block_delta", index=1, delta={"type": "text_delta", "text": text})
    yield event("content_block_stop", index=1)
    yield event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 7})
    yield event("message_stop")


WHOLE = {"/v1/chat/completions": chat_answer, "/v1/responses": responses_answer, "/v1/messages": message_answer}
STREAMS = {"/v1/chat/completions": chat_stream, "/v1/responses": responses_stream, "/v1/messages": message_stream}


class ScriptedUpstream:
    """`behaviour` of a path replaces its answer: a function of (handler, body)."""

    def __init__(self):
        outer = self
        self.requests = []  # {"method", "path", "headers", "body"}
        self.behaviour = {}
        self.aborted = threading.Event()
        self.delay_s = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                outer.answer(self)

            do_POST = do_DELETE = do_GET

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, handler):
        length = int(handler.headers.get("Content-Length") or 0)
        raw = handler.rfile.read(length)
        body = json.loads(raw) if raw[:1] == b"{" else {}
        path = handler.path.split("?")[0]
        self.requests.append({"method": handler.command, "path": handler.path, "headers": dict(handler.headers), "body": body,
                              "raw": raw})
        if self.delay_s:
            time.sleep(self.delay_s)
        if path in self.behaviour:
            self.behaviour[path](handler, body)
        elif path == "/v1/models":
            self.send(handler, 200, {"object": "list", "data": [{"id": name, "object": "model", "created": 1, "owned_by": "x"}
                                                                for name in ("small", "large", "secret")]})
        elif path == "/v1/messages/count_tokens":
            self.send(handler, 200, {"input_tokens": 11})
        elif path not in WHOLE:
            self.send(handler, 404, {"error": {"message": "no such path", "type": "x", "param": None, "code": None}})
        elif body.get("stream"):
            self.stream(handler, STREAMS[path](body))
        else:
            self.send(handler, 200, WHOLE[path](body))

    @staticmethod
    def send(handler, status, document, headers=()):
        data = json.dumps(document).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.send_header("x-request-id", "upstream-1")
        for name, value in headers:
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)

    @staticmethod
    def frame(kind, document):
        data = document if isinstance(document, str) else json.dumps(document)
        return ((f"event: {kind}\n" if kind else "") + f"data: {data}\n\n").encode()

    def stream(self, handler, events, pause_s=0.0, cut=False):
        """Sends events as chunks; `cut` closes the connection without the chunked end."""
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream; charset=utf-8")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        try:
            for kind, document in events:
                data = self.frame(kind, document)
                handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                handler.wfile.flush()
                if pause_s:
                    time.sleep(pause_s)
            if cut:
                handler.close_connection = True
                return
            handler.wfile.write(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            self.aborted.set()
            handler.close_connection = True
