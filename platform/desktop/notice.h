/*
 * Telling the person at the desktop something: a notification by org.freedesktop.Notifications of the session
 * bus. Where there is no desktop, or it is silent, nothing happens.
 */
#ifndef SATCHEL_DESKTOP_NOTICE_H
#define SATCHEL_DESKTOP_NOTICE_H

#include <stdbool.h>

/* Returns at once. `urgent`: it stays until it is dismissed. Any thread. */
void notice_show(const char *title, const char *text, bool urgent);

#endif
