/* guest_load.c - load for the benchmarks of virtual machines: a disk past the page cache, and TCP streams.
 * One static program that runs in the guest and, as the other end of a stream, on the host.
 *
 * usage: guest_load seq  DEVICE MIB [write]            sequential reads or writes of 1 MiB; prints MiB/s
 *        guest_load rand DEVICE SECONDS JOBS [write]   random ones of 4 KiB by JOBS threads; prints how many a second
 *        guest_load sink PORT                  takes streams and answers each with one byte at its end, for ever
 *        guest_load source PORT MIB            sends a stream to whoever connects, for ever
 *        guest_load send ADDRESS PORT MIB      sends a stream; prints Mbit/s
 *        guest_load recv ADDRESS PORT          receives one; prints Mbit/s
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { kMib = 1 << 20, kBlock = 4096 };

static double Now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void Die(const char* what) {
  fprintf(stderr, "guest_load: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int OpenDisk(const char* path, bool write, uint64_t* size) {
  const int fd = open(path, (write ? O_RDWR : O_RDONLY) | O_DIRECT);
  if (fd < 0) Die(path);
  const off_t end = lseek(fd, 0, SEEK_END);
  if (end < kMib) Die("size of the disk");
  *size = (uint64_t)end;
  return fd;
}

static void Move(int fd, bool write, void* buffer, size_t bytes, uint64_t at) {
  const ssize_t moved = write ? pwrite(fd, buffer, bytes, (off_t)at) : pread(fd, buffer, bytes, (off_t)at);
  if (moved != (ssize_t)bytes) Die(write ? "write" : "read");
}

static void Sequential(const char* path, uint64_t mib, bool write) {
  uint64_t size;
  const int fd = OpenDisk(path, write, &size);
  void* buffer;
  if (posix_memalign(&buffer, kBlock, kMib) != 0) Die("memory");
  const double start = Now();
  memset(buffer, 'b', kMib);
  for (uint64_t i = 0; i < mib; ++i) Move(fd, write, buffer, kMib, i * kMib % (size / kMib * kMib));
  printf("%.2f\n", (double)mib / (Now() - start));
}

struct Job {
  pthread_t thread;
  const char* path;
  bool write;
  double end;
  uint64_t state;
  uint64_t done;
};

static void* Work(void* argument) {
  struct Job* job = argument;
  uint64_t size;
  const int fd = OpenDisk(job->path, job->write, &size);
  void* buffer;
  if (posix_memalign(&buffer, kBlock, kBlock) != 0) Die("memory");
  memset(buffer, 'b', kBlock);
  while (Now() < job->end) {
    job->state = job->state * 6364136223846793005u + 1442695040888963407u;
    const uint64_t block = (job->state >> 33) % (size / kBlock);
    Move(fd, job->write, buffer, kBlock, block * kBlock);
    ++job->done;
  }
  return NULL;
}

static void Random(const char* path, double seconds, int jobs, bool write) {
  struct Job* all = calloc((size_t)jobs, sizeof *all);
  const double start = Now();
  for (int i = 0; i < jobs; ++i) {
    all[i] = (struct Job){.path = path, .write = write, .end = start + seconds, .state = (uint64_t)i * 77 + 1};
    if (pthread_create(&all[i].thread, NULL, Work, &all[i]) != 0) Die("thread");
  }
  uint64_t done = 0;
  for (int i = 0; i < jobs; ++i) {
    pthread_join(all[i].thread, NULL);
    done += all[i].done;
  }
  printf("%.1f\n", (double)done / (Now() - start));
}

static struct sockaddr_in Address(const char* address, const char* port) {
  struct sockaddr_in result = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
  result.sin_addr.s_addr = address == NULL ? htonl(INADDR_ANY) : inet_addr(address);
  return result;
}

static uint64_t Drain(int fd) {
  static char buffer[256 << 10];
  uint64_t total = 0;
  for (ssize_t count; (count = read(fd, buffer, sizeof buffer)) > 0;) total += (uint64_t)count;
  return total;
}

static void Fill(int fd, uint64_t bytes) {
  static char buffer[256 << 10];
  while (bytes > 0) {
    const size_t want = bytes < sizeof buffer ? bytes : sizeof buffer;
    const ssize_t count = write(fd, buffer, want);
    if (count <= 0) Die("send");
    bytes -= (uint64_t)count;
  }
}

static void Listen(const char* port, uint64_t bytes) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  struct sockaddr_in at = Address(NULL, port);
  if (bind(listener, (struct sockaddr*)&at, sizeof at) != 0 || listen(listener, 4) != 0) Die("listen");
  for (;;) {
    const int fd = accept(listener, NULL, NULL);
    if (fd < 0) continue;
    if (fork() == 0) {
      if (bytes > 0) {
        Fill(fd, bytes);
      } else {
        Drain(fd);
        if (write(fd, "x", 1) != 1) exit(1);
      }
      exit(0);
    }
    close(fd);
  }
}

static int Connect(const char* address, const char* port) {
  struct sockaddr_in to = Address(address, port);
  for (int i = 0; i < 200; ++i) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr*)&to, sizeof to) == 0) return fd;
    close(fd);
    usleep(100000);
  }
  Die("connect");
  return -1;
}

static void Report(uint64_t bytes, double seconds) {
  printf("%.2f\n", (double)bytes * 8 / 1e6 / seconds);
}

int main(int argc, char** argv) {
  signal(SIGCHLD, SIG_IGN);
  const char* verb = argc > 1 ? argv[1] : "";
  const bool write = argc > 1 && strcmp(argv[argc - 1], "write") == 0;
  const int words = argc - write;
  if (strcmp(verb, "seq") == 0 && words == 4) {
    Sequential(argv[2], strtoull(argv[3], NULL, 10), write);
  } else if (strcmp(verb, "rand") == 0 && words == 5) {
    Random(argv[2], atof(argv[3]), atoi(argv[4]), write);
  } else if (strcmp(verb, "sink") == 0 && argc == 3) {
    Listen(argv[2], 0);
  } else if (strcmp(verb, "source") == 0 && argc == 4) {
    Listen(argv[2], strtoull(argv[3], NULL, 10) * kMib);
  } else if (strcmp(verb, "send") == 0 && argc == 5) {
    const uint64_t bytes = strtoull(argv[4], NULL, 10) * kMib;
    const int fd = Connect(argv[2], argv[3]);
    const double start = Now();
    Fill(fd, bytes);
    shutdown(fd, SHUT_WR);
    char byte;
    if (read(fd, &byte, 1) != 1) Die("answer");
    Report(bytes, Now() - start);
  } else if (strcmp(verb, "recv") == 0 && argc == 4) {
    const int fd = Connect(argv[2], argv[3]);
    const double start = Now();
    const uint64_t bytes = Drain(fd);
    Report(bytes, Now() - start);
  } else {
    fprintf(stderr, "guest_load: wrong usage, see the head of guest_load.c\n");
    return 2;
  }
  return 0;
}
