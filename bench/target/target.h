/* A push service that thinks of nothing: it reads a request to its end and gives the same answer to each, as fast as
 * one thread of C can. The measure of clients that are faster than the fake servers; it checks no rule of anybody's.
 *
 *   main.c        options, the listener, the loop
 *   connection.c  one TLS connection: bytes in, HTTP/2 (libnghttp2), bytes out
 *   answers.c     what is answered, and when
 */
#ifndef TARGET_H
#define TARGET_H

#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_STREAMS 4096      /* what --streams may say */
#define MAX_BODY (256 * 1024) /* bytes of one request's body; longer ones are reset */
#define OUT_SIZE (64 * 1024)  /* bytes that wait for one SSL_write */
#define RECORD 16384          /* bytes in a TLS record, at most */

enum provider { APNS, FCM };

struct options {
  const char *certificate, *key; /* PEM files */
  enum provider provider;
  int port;
  bool apple;         /* Apple's SETTINGS and its window of 65 535 bytes, else large windows */
  bool eager;         /* a WINDOW_UPDATE for each read, else when half of the window is used, as Apple and nghttp2 do */
  uint32_t streams;   /* MAX_CONCURRENT_STREAMS */
  int64_t delay_ns;   /* from the end of a request to its answer */
  unsigned refuse;    /* per cent of the answers that are refusals with a body */
  unsigned lifetime;  /* seconds after which the process ends by itself */
  unsigned max_connections;
};

extern struct options options;

/* What is known of one request until its stream is closed. `next` chains the free ones, and those that wait. */
struct request {
  struct request *next;
  int64_t due;      /* when to answer, CLOCK_MONOTONIC in ns */
  size_t received;  /* bytes of its body */
  size_t sent;      /* bytes of its answer's body */
  const char *body; /* of the answer; NULL for none */
  size_t body_size;
  int32_t stream;
  uint8_t id[36];   /* the apns-id of the request, which is echoed */
  bool has_id;
  bool token;   /* asks for an access token */
  bool waiting; /* in the queue of answers; if its stream is closed meanwhile, `gone` */
  bool gone;
};

struct connection {
  int fd;
  SSL *ssl;
  nghttp2_session *session;
  bool shaken, wants_write;
  bool more; /* OpenSSL may hold bytes that epoll knows nothing of */
  unsigned refused_part; /* counts up by `options.refuse`; at 100 one is refused */
  unsigned refusals;
  uint32_t consumed;     /* bytes of bodies since the last WINDOW_UPDATE, when `eager` */
  size_t out_size, out_sent;
  struct request *free, *first, *last; /* unused requests, and the queue of answers */
  struct connection *next, *previous;
  struct request *requests; /* all of them */
  unsigned char out[OUT_SIZE];
};

/* answers.c */
int answer(struct connection *connection, struct request *request);
int finished(struct connection *connection, struct request *request);
int answer_due(struct connection *connection, int64_t now);
int64_t clock_ns(void);

/* connection.c */
int make_callbacks(void);
void free_callbacks(void);
struct connection *open_connection(int fd, SSL_CTX *context);
int serve(struct connection *connection);
int flush(struct connection *connection);
void close_connection(struct connection *connection);
void release(struct connection *connection, struct request *request);

#endif
