/* What is answered, and when. The answers are constant but for the apns-id: the request's, or a new one, as with Apple. */
#include "target.h"

#include <string.h>
#include <time.h>

#define FIELD(name, value) {(uint8_t *)(name), (uint8_t *)(value), sizeof(name) - 1, sizeof(value) - 1, 0}

static const char unregistered[] = "{\"reason\":\"Unregistered\",\"timestamp\":1700000000000}";
static const char bad_token[] = "{\"reason\":\"BadDeviceToken\"}";
static const char accepted[] = "{\n  \"name\": \"projects/fake-project/messages/0:1700000000000000%31bd1c9631bd1c96\"\n}\n";
static const char not_found[] =
    "{\n  \"error\": {\n    \"code\": 404,\n    \"message\": \"Requested entity was not found.\",\n"
    "    \"status\": \"NOT_FOUND\",\n    \"details\": [\n      {\n"
    "        \"@type\": \"type.googleapis.com/google.firebase.fcm.v1.FcmError\",\n"
    "        \"errorCode\": \"UNREGISTERED\"\n      }\n    ]\n  }\n}\n";
static const char access_token[] =
    "{\"access_token\":\"ya29.c.target-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    "0123456789abcdef0123456789abcdef\",\"expires_in\":3599,\"token_type\":\"Bearer\"}";

int64_t clock_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static ssize_t read_body(nghttp2_session *session, int32_t stream, uint8_t *buffer, size_t length, uint32_t *flags,
                         nghttp2_data_source *source, void *data) {
  struct request *request = source->ptr;
  size_t left = request->body_size - request->sent;
  (void)session, (void)stream, (void)data;
  if (left <= length) {
    length = left;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
  }
  memcpy(buffer, request->body + request->sent, length);
  request->sent += length;
  return (ssize_t)length;
}

/* Lower-case UUID of a counter; 36 characters and no terminating zero. */
static void write_id(uint8_t *text) {
  static uint64_t number;
  static const char digits[] = "0123456789abcdef";
  uint64_t rest = ++number * UINT64_C(0x9E3779B97F4A7C15);
  memcpy(text, "a5b1f6c2-3d4e-4f50-9", 20);
  for (int at = 20; at < 36; at++, rest >>= 4)
    text[at] = (uint8_t)digits[rest & 15];
  text[23] = '-';
}

static int give(struct connection *connection, struct request *request, const nghttp2_nv *fields, size_t count,
                const char *body, size_t size) {
  nghttp2_data_provider source = {.source.ptr = request, .read_callback = read_body};
  request->body = body;
  request->body_size = size;
  return nghttp2_submit_response(connection->session, request->stream, fields, count, body ? &source : NULL);
}

/* The answer to one request, now. 0, or nghttp2's error. */
int answer(struct connection *connection, struct request *request) {
  uint8_t *id = request->id;
  bool refuse = false;
  if (request->token) {
    nghttp2_nv fields[] = {FIELD(":status", "200"), FIELD("content-type", "application/json; charset=UTF-8")};
    return give(connection, request, fields, 2, access_token, sizeof access_token - 1);
  }
  connection->refused_part += options.refuse;
  if (connection->refused_part >= 100) {
    connection->refused_part -= 100;
    refuse = true;
  }
  if (options.provider == FCM) {
    nghttp2_nv fields[] = {FIELD(":status", "200"), FIELD("content-type", "application/json; charset=UTF-8")};
    if (!refuse)
      return give(connection, request, fields, 2, accepted, sizeof accepted - 1);
    fields[0].value = (uint8_t *)"404";
    return give(connection, request, fields, 2, not_found, sizeof not_found - 1);
  }
  if (!request->has_id)
    write_id(id);
  nghttp2_nv fields[] = {FIELD(":status", "200"),
                         {(uint8_t *)"apns-id", id, 7, sizeof request->id, NGHTTP2_NV_FLAG_NO_INDEX},
                         FIELD("content-type", "application/json")};
  if (!refuse)
    return give(connection, request, fields, 2, NULL, 0);
  /* One in four blames the token and not the device, so that no client takes it for a wrong environment. */
  if (++connection->refusals % 4 == 0) {
    fields[0].value = (uint8_t *)"400";
    return give(connection, request, fields, 3, bad_token, sizeof bad_token - 1);
  }
  fields[0].value = (uint8_t *)"410";
  return give(connection, request, fields, 3, unregistered, sizeof unregistered - 1);
}

/* A request has been read to its end. */
int finished(struct connection *connection, struct request *request) {
  if (options.delay_ns == 0 || request->token)
    return answer(connection, request);
  request->due = clock_ns() + options.delay_ns;
  request->waiting = true;
  request->next = NULL;
  if (connection->last)
    connection->last->next = request;
  else
    connection->first = request;
  connection->last = request;
  return 0;
}

/* Answer all that are due; they are in order, for every delay is the same. */
int answer_due(struct connection *connection, int64_t now) {
  while (connection->first && connection->first->due <= now) {
    struct request *request = connection->first;
    int status;
    connection->first = request->next;
    if (!connection->first)
      connection->last = NULL;
    request->waiting = false;
    if (request->gone)
      release(connection, request);
    else if ((status = answer(connection, request)))
      return status;
  }
  return 0;
}
