/*
 * The admin API over libcurl: one request at a time, one thread. The server is believed only with a
 * certificate of the CA that was named; nothing of the system's trust store counts.
 */
#ifndef SATCHEL_CTL_CLIENT_H
#define SATCHEL_CTL_CLIENT_H

#include "platform/base/buf.h"

#include <cjson/cJSON.h>
#include <stddef.h>

#define CLIENT_TOKEN_MS 50000 /* that a token signed with --dir is good for */

struct client;

/* On the server's own machine: address, CA and the key that signs short-lived tokens are in `dir`. */
int client_open_dir(const char *dir, struct client **ret);

/* From anywhere: https://HOST[:PORT], a file with a token, a file with the CA's certificate. */
int client_open_server(const char *url, const char *token_file, const char *ca_file, struct client **ret);

void client_close(struct client *c);

struct client_request {
    const char *method, *path;
    const char *type; /* of the body; NULL: JSON */
    const char *body; /* NULL: none */
    size_t size;
    long seconds; /* that the answer may take besides the usual, for long polls */
};

/*
 * The answer to a request that succeeded; NULL in *ret where it has no body. ERR_UNREACHABLE, ERR_TLS;
 * ERR_NOT_FOUND for 404, ERR_REFUSED for what the server refuses otherwise, with the server's words as
 * err_text(), and the problem document in client_problem().
 */
int client_call(struct client *c, const struct client_request *request, cJSON **ret);

/* The problem document of the last call that was refused; NULL without. The client's. */
const cJSON *client_problem(const struct client *c);

/* GET, and POST of a JSON object (taken over). */
int client_get(struct client *c, const char *path, cJSON **ret);
int client_post(struct client *c, const char *path, cJSON *body, cJSON **ret);

/* Every page of a list in one document: {"<list>": [...]}. */
int client_list(struct client *c, const char *path, const char *list, cJSON **ret);

/* `text` escaped for a path. The caller's; NULL without memory. */
char *client_escape(struct client *c, const char *text);

/* `before`, the escaped `word`, and `after`. */
int client_path(struct client *c, const char *before, const char *word, const char *after, struct buf *ret);

#endif
