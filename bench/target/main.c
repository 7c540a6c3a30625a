/* Options, the listener and the loop: one thread, epoll, everything on 127.0.0.1. */
#include "target.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define EVENTS 64
#define READ_AHEAD (128 * 1024) /* bytes that OpenSSL takes from the kernel at once */

struct options options = {
    .streams = 1000,
    .lifetime = 3600,
    .max_connections = 256,
};

static const char usage[] =
    "Usage: target --certificate FILE --key FILE [OPTIONS]\n"
    "\n"
    "Answers every HTTP/2 request on 127.0.0.1 in the same way and prints \"listening on https://127.0.0.1:PORT\".\n"
    "SIGTERM or SIGINT ends it.\n"
    "\n"
    "  --certificate FILE    PEM: the certificate chain\n"
    "  --key FILE            PEM: its private key\n"
    "  --port PORT           0, the default, takes a free one\n"
    "  --provider NAME       apns (default): 200 with an apns-id; fcm: 200 with a body, and access tokens at /token\n"
    "  --window KIND         large (default), or apple: Apple's SETTINGS and its window of 65535 bytes\n"
    "  --updates WHEN        half (default): WINDOW_UPDATE when half of the window is used; each: after each read\n"
    "  --streams N           MAX_CONCURRENT_STREAMS, 1000 by default\n"
    "  --delay-us N          microseconds from the end of a request to its answer, 0 by default\n"
    "  --refuse N            per cent of the answers that refuse, with a body; 0 by default\n"
    "  --max-connections N   256 by default; more are closed at once\n"
    "  --lifetime SECONDS    ends by itself after so long, 3600 by default\n";

static void fail(const char *what) {
  fprintf(stderr, "target: %s\n", what);
  exit(2);
}

static long number(const char *text, long least, long most) {
  char *end;
  errno = 0;
  long value = strtol(text, &end, 10);
  if (errno || *end || end == text || value < least || value > most)
    fail("a number is out of its range; see --help");
  return value;
}

static bool either(const char *text, const char *no, const char *yes) {
  if (strcmp(text, no) && strcmp(text, yes))
    fail("an option has a value that it does not know; see --help");
  return !strcmp(text, yes);
}

static void parse(int count, char **arguments) {
  static const struct option known[] = {
      {"certificate", 1, 0, 'c'}, {"key", 1, 0, 'k'},      {"port", 1, 0, 'p'},     {"provider", 1, 0, 'P'},
      {"window", 1, 0, 'w'},      {"updates", 1, 0, 'u'},  {"streams", 1, 0, 's'},  {"delay-us", 1, 0, 'd'},
      {"refuse", 1, 0, 'r'},      {"lifetime", 1, 0, 'l'}, {"max-connections", 1, 0, 'm'}, {"help", 0, 0, 'h'},
      {0, 0, 0, 0}};
  int option;
  while ((option = getopt_long(count, arguments, "h", known, NULL)) != -1) {
    switch (option) {
    case 'c': options.certificate = optarg; break;
    case 'k': options.key = optarg; break;
    case 'p': options.port = (int)number(optarg, 0, 65535); break;
    case 'P': options.provider = either(optarg, "apns", "fcm") ? FCM : APNS; break;
    case 'w': options.apple = either(optarg, "large", "apple"); break;
    case 'u': options.eager = either(optarg, "half", "each"); break;
    case 's': options.streams = (uint32_t)number(optarg, 1, MAX_STREAMS); break;
    case 'd': options.delay_ns = number(optarg, 0, 10000000) * INT64_C(1000); break;
    case 'r': options.refuse = (unsigned)number(optarg, 0, 100); break;
    case 'l': options.lifetime = (unsigned)number(optarg, 1, 86400); break;
    case 'm': options.max_connections = (unsigned)number(optarg, 1, 1024); break;
    case 'h': fputs(usage, stdout); exit(0);
    default: exit(2);
    }
  }
  if (optind < count || !options.certificate || !options.key)
    fail("it takes --certificate and --key and no arguments; see --help");
}

static int select_h2(SSL *ssl, const unsigned char **out, unsigned char *size, const unsigned char *offered,
                     unsigned offered_size, void *data) {
  (void)ssl, (void)data;
  /* `offered` outlives the call, and the answer points into it. */
  for (unsigned at = 0; at + 1 <= offered_size && at + 1 + offered[at] <= offered_size; at += 1 + offered[at]) {
    if (offered[at] == 2 && !memcmp(offered + at + 1, "h2", 2)) {
      *out = offered + at + 1;
      *size = 2;
      return SSL_TLSEXT_ERR_OK;
    }
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static SSL_CTX *make_context(void) {
  SSL_CTX *context = SSL_CTX_new(TLS_server_method());
  if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) ||
      SSL_CTX_use_certificate_chain_file(context, options.certificate) != 1 ||
      SSL_CTX_use_PrivateKey_file(context, options.key, SSL_FILETYPE_PEM) != 1)
    fail("cannot use the certificate or the key");
  /* One cipher for all clients, or their rates would tell which they prefer: OpenSSL's first, as with Python's servers. */
  SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_alpn_select_cb(context, select_h2, NULL);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_default_read_buffer_len(context, READ_AHEAD);
  return context;
}

static int listen_on(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  socklen_t size = sizeof address;
  int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) ||
      bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 256) ||
      getsockname(fd, (struct sockaddr *)&address, &size))
    fail("cannot listen");
  printf("listening on https://127.0.0.1:%d\n", ntohs(address.sin_port));
  fflush(stdout);
  return fd;
}

static int signals(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGALRM); /* the end of its lifetime */
  signal(SIGPIPE, SIG_IGN);
  if (sigprocmask(SIG_BLOCK, &set, NULL))
    return -1;
  return signalfd(-1, &set, SFD_CLOEXEC);
}

static struct connection *connections;
static unsigned connection_count;
static int poll_fd;

static void watch(int fd, void *data, bool writing, int operation) {
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = data};
  if (writing)
    event.events = EPOLLOUT; /* and no EPOLLIN: what cannot be answered is not read */
  if (epoll_ctl(poll_fd, operation, fd, &event))
    fail("epoll_ctl failed");
}

static void drop(struct connection *connection) {
  if (connection->previous)
    connection->previous->next = connection->next;
  else
    connections = connection->next;
  if (connection->next)
    connection->next->previous = connection->previous;
  connection_count--;
  close_connection(connection);
}

static void accept_all(int listener, SSL_CTX *context) {
  int fd, yes = 1;
  while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
    if (connection_count >= options.max_connections) {
      close(fd);
      continue;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct connection *connection = open_connection(fd, context);
    if (!connection)
      continue;
    connection->next = connections;
    if (connections)
      connections->previous = connection;
    connections = connection;
    connection_count++;
    watch(fd, connection, false, EPOLL_CTL_ADD);
  }
}

/* Take up what the event says, and see to what must be waited for next. */
static void turn(struct connection *connection, bool readable) {
  bool wrote = connection->wants_write;
  int status;
  do
    status = readable ? serve(connection) : flush(connection);
  while (!status && readable && connection->more && !connection->wants_write);
  if (status)
    drop(connection);
  else if (connection->wants_write != wrote)
    watch(connection->fd, connection, connection->wants_write, EPOLL_CTL_MOD);
}

/* Answer what is due everywhere, and set the timer for the next. */
static void answer_all(int timer) {
  int64_t now = clock_ns(), next = 0;
  for (struct connection *connection = connections, *after; connection; connection = after) {
    after = connection->next;
    if (!connection->first)
      continue;
    if (connection->first->due <= now) {
      if (answer_due(connection, now)) {
        drop(connection);
        continue;
      }
      if (!connection->wants_write) {
        int64_t due = connection->first ? connection->first->due : 0;
        turn(connection, false);
        if (due && (!next || due < next))
          next = due;
        continue;
      }
    }
    if (connection->first && (!next || connection->first->due < next))
      next = connection->first->due;
  }
  struct itimerspec when = {.it_value = {.tv_sec = next / 1000000000, .tv_nsec = next % 1000000000}};
  timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
}

int main(int count, char **arguments) {
  static char of_listener, of_signals, of_timer;
  struct epoll_event events[EVENTS];
  parse(count, arguments);
  int signal_fd = signals(), timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  poll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (signal_fd < 0 || timer < 0 || poll_fd < 0 || make_callbacks())
    fail("cannot set up");
  SSL_CTX *context = make_context();
  int listener = listen_on(options.port);
  watch(listener, &of_listener, false, EPOLL_CTL_ADD);
  watch(signal_fd, &of_signals, false, EPOLL_CTL_ADD);
  watch(timer, &of_timer, false, EPOLL_CTL_ADD);
  alarm(options.lifetime);
  for (bool going = true; going;) {
    int ready = epoll_wait(poll_fd, events, EVENTS, -1);
    if (ready < 0 && errno != EINTR)
      fail("epoll_wait failed");
    for (int at = 0; at < ready; at++) {
      void *what = events[at].data.ptr;
      if (what == &of_signals)
        going = false;
      else if (what == &of_listener)
        accept_all(listener, context);
      else if (what != &of_timer)
        turn(what, true);
    }
    /* Once a turn, for all connections: several requests that became due together are answered together. */
    if (options.delay_ns)
      answer_all(timer);
  }
  while (connections)
    drop(connections);
  SSL_CTX_free(context);
  free_callbacks();
  close(listener);
  close(signal_fd);
  close(timer);
  close(poll_fd);
  return 0;
}
