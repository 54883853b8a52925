/*
 * The methods of the control socket, one function each. Called on the thread of a connection.
 */
#ifndef SATCHEL_CONTROL_METHOD_H
#define SATCHEL_CONTROL_METHOD_H

#include <cjson/cJSON.h>

struct control;

/* Calls a method by name. *ret_result is the caller's. Notifications go out on `fd`. A negative code with
 * err_text(). */
int method_call(struct control *c, int fd, const char *name, const cJSON *params, cJSON **ret_result);

#endif
