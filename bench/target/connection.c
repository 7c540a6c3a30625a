/* One TLS connection: bytes in, HTTP/2 by libnghttp2, bytes out. Nothing is read while answers cannot be written. */
#include "target.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READS 16 /* records before what they ask for is answered */
#define LARGE_STREAM_WINDOW (1 << 20)
#define LARGE_WINDOW (1 << 26)

static nghttp2_session_callbacks *callbacks;
static nghttp2_option *session_options;

void release(struct connection *connection, struct request *request) {
  request->next = connection->free;
  connection->free = request;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *data) {
  struct connection *connection = data;
  struct request *request = connection->free;
  if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
    return 0;
  if (!request) /* reset streams may still wait for their time to answer */
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  connection->free = request->next;
  memset(request, 0, sizeof *request);
  request->stream = frame->hd.stream_id;
  return nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, request);
}

/* Two things are looked at: an apns-id, which is echoed, and whether a client of FCM asks for an access token. */
static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                     const uint8_t *value, size_t size, uint8_t flags, void *data) {
  struct request *request;
  (void)flags, (void)data;
  if (name_size == 5 && size >= 6 && !memcmp(name, ":path", 5) && !memcmp(value, "/token", 6)) {
    if (options.provider == FCM && (request = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id)))
      request->token = true;
  } else if (name_size == 7 && size == sizeof request->id && !memcmp(name, "apns-id", 7) &&
             (request = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id))) {
    memcpy(request->id, value, sizeof request->id);
    request->has_id = true;
  }
  return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *bytes, size_t size,
                         void *data) {
  struct connection *connection = data;
  struct request *request = nghttp2_session_get_stream_user_data(session, stream);
  (void)flags, (void)bytes;
  if (request && (request->received += size) > MAX_BODY)
    return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream, NGHTTP2_ENHANCE_YOUR_CALM);
  if (options.eager) {
    connection->consumed += (uint32_t)size;
    if (request && request->received > 16384) /* less than any stream's window: it needs no update */
      return nghttp2_submit_window_update(session, NGHTTP2_FLAG_NONE, stream, (int32_t)size);
  }
  return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *data) {
  struct request *request;
  if ((frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) ||
      !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
    return 0;
  request = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
  return request ? finished(data, request) : 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t code, void *data) {
  struct request *request = nghttp2_session_get_stream_user_data(session, stream);
  (void)code;
  if (request && request->waiting)
    request->gone = true;
  else if (request)
    release(data, request);
  return 0;
}

int make_callbacks(void) {
  if (nghttp2_session_callbacks_new(&callbacks) || nghttp2_option_new(&session_options))
    return -1;
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
  nghttp2_option_set_no_closed_streams(session_options, 1);
  nghttp2_option_set_no_auto_window_update(session_options, options.eager);
  /* Whether requests are well formed is the strict fakes' question; asking costs a tenth of this server's speed. */
  nghttp2_option_set_no_http_messaging(session_options, 1);
  return 0;
}

void free_callbacks(void) {
  nghttp2_session_callbacks_del(callbacks);
  nghttp2_option_del(session_options);
}

static int greet(nghttp2_session *session) {
  nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, 4096},
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, options.streams},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options.apple ? 65535 : LARGE_STREAM_WINDOW},
      {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 16384},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, options.apple ? 8000 : 65536},
  };
  int status = nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof *settings);
  if (!status && !options.apple)
    status = nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, LARGE_WINDOW);
  return status;
}

/* Takes the descriptor, also when it fails and gives NULL. */
struct connection *open_connection(int fd, SSL_CTX *context) {
  struct connection *connection = calloc(1, sizeof *connection);
  /* Streams that a client has reset may wait for their time to answer: as many again as may be open. */
  size_t count = 2 * (size_t)options.streams;
  if (connection) {
    connection->fd = fd;
    connection->requests = calloc(count, sizeof *connection->requests);
    connection->ssl = SSL_new(context);
  }
  if (!connection || !connection->requests || !connection->ssl || !SSL_set_fd(connection->ssl, fd) ||
      nghttp2_session_server_new2(&connection->session, callbacks, connection, session_options) ||
      greet(connection->session)) {
    if (connection)
      close_connection(connection);
    else
      close(fd);
    return NULL;
  }
  for (size_t at = count; at > 0; at--)
    release(connection, &connection->requests[at - 1]);
  SSL_set_accept_state(connection->ssl);
  return connection;
}

void close_connection(struct connection *connection) {
  if (connection->session)
    nghttp2_session_del(connection->session);
  if (connection->ssl) {
    if (connection->shaken)
      SSL_shutdown(connection->ssl);
    SSL_free(connection->ssl);
  }
  close(connection->fd);
  free(connection->requests);
  free(connection);
  ERR_clear_error();
}

/* 0 to wait, -1 when the connection is over. */
static int pause_or_end(struct connection *connection, int result) {
  int reason = SSL_get_error(connection->ssl, result);
  if (reason == SSL_ERROR_WANT_READ)
    return 0;
  if (reason == SSL_ERROR_WANT_WRITE) {
    connection->wants_write = true;
    return 0;
  }
  ERR_clear_error();
  return -1;
}

/* Write what libnghttp2 has to say, in whole records where there is so much. */
int flush(struct connection *connection) {
  for (;;) {
    const uint8_t *bytes;
    ssize_t size = 1;
    if (connection->out_sent == connection->out_size)
      connection->out_sent = connection->out_size = 0;
    /* The server's own frames fit into the rest: bodies and headers are short. */
    while (connection->out_sent == 0 && connection->out_size < OUT_SIZE - 2 * RECORD && size > 0) {
      size = nghttp2_session_mem_send(connection->session, &bytes);
      if (size < 0 || connection->out_size + (size_t)size > OUT_SIZE)
        return -1;
      if (size > 0)
        memcpy(connection->out + connection->out_size, bytes, (size_t)size);
      connection->out_size += (size_t)size;
    }
    if (connection->out_size == 0)
      break;
    int wrote = SSL_write(connection->ssl, connection->out + connection->out_sent,
                          (int)(connection->out_size - connection->out_sent));
    if (wrote <= 0) {
      connection->wants_write = true;
      return pause_or_end(connection, wrote);
    }
    connection->out_sent += (size_t)wrote;
  }
  connection->wants_write = false;
  return nghttp2_session_want_read(connection->session) || nghttp2_session_want_write(connection->session) ? 0 : -1;
}

/* The connection can be read or written; -1 when it is over. */
int serve(struct connection *connection) {
  static unsigned char bytes[RECORD];
  connection->more = false;
  if (!connection->shaken) {
    int result = SSL_accept(connection->ssl);
    connection->wants_write = false;
    if (result != 1)
      return pause_or_end(connection, result);
    const unsigned char *protocol;
    unsigned size;
    SSL_get0_alpn_selected(connection->ssl, &protocol, &size);
    /* Without ALPN it is HTTP/2 all the same, as with Apple: Pushy offers nothing. */
    if (size != 0 && (size != 2 || memcmp(protocol, "h2", 2)))
      return -1;
    connection->shaken = true;
  }
  if (connection->wants_write && flush(connection))
    return -1;
  for (int reads = 0; !connection->wants_write; reads++) {
    if (reads == READS) {
      connection->more = true;
      break;
    }
    int size = SSL_read(connection->ssl, bytes, sizeof bytes);
    if (size <= 0) {
      if (pause_or_end(connection, size))
        return -1;
      break;
    }
    if (nghttp2_session_mem_recv(connection->session, bytes, (size_t)size) < 0) {
      flush(connection); /* the GOAWAY that says why */
      return -1;
    }
    if (connection->consumed) {
      if (nghttp2_submit_window_update(connection->session, NGHTTP2_FLAG_NONE, 0, (int32_t)connection->consumed))
        return -1;
      connection->consumed = 0;
    }
  }
  return connection->wants_write ? 0 : flush(connection);
}
