#include "platform/desktop/notice.h"
#include "platform/base/log.h"

#include <gio/gio.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define NOTICE_MS 10000
#define NOTICE_MOST 8 /* threads that wait for a desktop that does not answer */
#define NOTICE_URGENCY_NORMAL 1
#define NOTICE_URGENCY_CRITICAL 2

struct notice {
    char *title, *text; /* owned */
    bool urgent;
};

static atomic_int notice_running;

static void notice_free(struct notice *n) {
    if (n) {
        free(n->title);
        free(n->text);
    }
    free(n);
}

/* A connection of its own: the shared one of GLib ends the process when the bus goes away. */
static GDBusConnection *notice_connect(GError **error) {
    GDBusConnection *bus = NULL;
    char *address = g_dbus_address_get_for_bus_sync(G_BUS_TYPE_SESSION, NULL, error);
    if (address)
        bus = g_dbus_connection_new_for_address_sync(address,
                                                     G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
                                                         G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
                                                     NULL, NULL, error);
    g_free(address);
    return bus;
}

static GVariant *notice_arguments(const struct notice *n) {
    GVariantBuilder hints;
    g_variant_builder_init(&hints, G_VARIANT_TYPE_VARDICT);
    g_variant_builder_add(&hints, "{sv}", "urgency",
                          g_variant_new_byte(n->urgent ? NOTICE_URGENCY_CRITICAL : NOTICE_URGENCY_NORMAL));
    return g_variant_new("(susssasa{sv}i)", "Satchel", 0, "mail-message", n->title, n->text, NULL, &hints,
                         -1);
}

static void *notice_run(void *userdata) {
    struct notice *n = userdata;
    GError *error = NULL;
    GDBusConnection *bus = notice_connect(&error);
    GVariant *answer = bus ? g_dbus_connection_call_sync(
                                 bus, "org.freedesktop.Notifications", "/org/freedesktop/Notifications",
                                 "org.freedesktop.Notifications", "Notify", notice_arguments(n), NULL,
                                 G_DBUS_CALL_FLAGS_NONE, NOTICE_MS, NULL, &error)
                           : NULL;
    if (answer)
        g_variant_unref(answer);
    else
        log_debug("no notification: %s, ignoring", error ? error->message : "unknown");
    g_clear_error(&error);
    if (bus)
        (void)g_dbus_connection_close_sync(bus, NULL, NULL);
    g_clear_object(&bus);
    notice_free(n);
    (void)atomic_fetch_sub(&notice_running, 1);
    return NULL;
}

void notice_show(const char *title, const char *text, bool urgent) {
    struct notice *n = calloc(1, sizeof *n);
    pthread_t thread;
    if (n)
        *n = (struct notice){.title = strdup(title), .text = strdup(text), .urgent = urgent};
    bool usable =
        n && n->title && n->text && g_utf8_validate(title, -1, NULL) && g_utf8_validate(text, -1, NULL);
    if (atomic_fetch_add(&notice_running, 1) < NOTICE_MOST && usable &&
        pthread_create(&thread, NULL, notice_run, n) == 0) {
        (void)pthread_detach(thread);
        return;
    }
    (void)atomic_fetch_sub(&notice_running, 1);
    notice_free(n);
}
