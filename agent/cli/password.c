/* satchel password: the mail password, asked for and handed to satcheld, which tries it before it keeps it.
 */
#include "agent/cli/cli.h"
#include "platform/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>

#define PASSWORD_TRIES 3
#define PASSWORD_MAX 1024

static int password_terminal = -1;
static struct termios password_before;

/* Ctrl-C while the echo is off: put the terminal back, then end as the signal would have. */
static void password_interrupted(int sig) {
    (void)tcsetattr(password_terminal, TCSAFLUSH, &password_before);
    (void)signal(sig, SIG_DFL);
    (void)raise(sig);
}

/* Whatever ends or stops us at the prompt must not leave the terminal silent. */
static void password_on_signals(void (*handler)(int)) {
    static const int signals[] = {SIGINT, SIGTERM, SIGQUIT, SIGHUP};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        (void)signal(signals[i], handler);
    (void)signal(SIGTSTP, handler == SIG_DFL ? SIG_DFL : SIG_IGN);
}

/* One line without its newline. 1: end of file. */
static int password_line(int fd, struct buf *ret) {
    buf_clear(ret);
    for (;;) {
        char c;
        ssize_t n = read(fd, &c, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno("cannot read the password");
        if (n == 0 && !ret->len)
            return 1;
        if (n == 0 || c == '\n')
            break;
        int r = buf_add(ret, &c, 1);
        if (r < 0)
            return err_set(ERR_USAGE, "the password is longer than %d bytes", PASSWORD_MAX);
    }
    if (ret->len && ret->data[ret->len - 1] == '\r')
        ret->data[--ret->len] = '\0';
    return 0;
}

static int password_ask(const char *login, struct buf *ret) {
    cleanup(fd) int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return err_set(ERR_USAGE, "there is no terminal to ask for the password; use --password-stdin");
    if (tcgetattr(fd, &password_before) < 0)
        return err_errno("cannot ask for the password");
    struct termios silent = password_before;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    password_terminal = fd;
    password_on_signals(password_interrupted);
    (void)tcsetattr(fd, TCSAFLUSH, &silent);
    /* Only now: what is typed at the prompt must not be seen. */
    (void)dprintf(fd, "Mail password for %s: ", cli_safe(login));
    int r = password_line(fd, ret);
    (void)tcsetattr(fd, TCSAFLUSH, &password_before);
    password_on_signals(SIG_DFL);
    (void)dprintf(fd, "\n");
    return r;
}

int cli_give_password(struct cli_agent *a, bool from_stdin, const char *login, cJSON **ret_status) {
    cleanup(buf) struct buf password = {.max = PASSWORD_MAX, .secret = true};
    for (int tries = 1;; tries++) {
        int r = from_stdin ? password_line(STDIN_FILENO, &password) : password_ask(login, &password);
        if (r == 1 && tries > 1)
            return err_set(ERR_AUTH, "the mail password was refused and not stored");
        if (r == 1)
            return err_set(ERR_USAGE, "no password was given");
        if (r < 0)
            return r;
        cJSON *params = cJSON_CreateObject();
        r = json_add_str(params, "password", password.data ? password.data : "");
        if (r == 0)
            r = cli_call(a, "credential", params, NULL, ret_status);
        if (r != ERR_AUTH)
            return r;
        (void)fprintf(stderr, "satchel: %s\n", cli_safe(err_text()));
        if (tries == PASSWORD_TRIES)
            return err_set(ERR_AUTH,
                           "the mail password was refused %d times and not stored; the device stays "
                           "enrolled. Find out the "
                           "right one and use `satchel password`",
                           tries);
    }
}

static int password_run(int argc, char **argv, bool json) {
    bool from_stdin = argc == 2 && strcmp(argv[1], "--password-stdin") == 0;
    int r = cli_arguments(argc, argv, 0, from_stdin ? 1 : 0);
    cleanup(cli_agent) struct cli_agent a = {.fd = -1};
    cleanup(cJSON) cJSON *before = NULL, *status = NULL;
    if (r == 0)
        r = cli_connect(true, &a);
    if (r == 0)
        r = cli_call(&a, "status", NULL, NULL, &before);
    if (r == 0 && !json_object(before, "account"))
        r = err_set(ERR_WRONG_STATE, "this device is not enrolled; use `satchel enroll LINK`");
    if (r == 0)
        r = cli_give_password(&a, from_stdin, json_str(json_object(before, "account"), "address"), &status);
    if (r < 0)
        return cli_fail(r, json);
    if (json)
        return cli_print(status) < 0 ? 1 : 0;
    (void)printf("The mail password is right and in the keyring.\n");
    return 0;
}

const struct cli_verb cli_password = {
    .name = "password",
    .arguments = "[--password-stdin]",
    .summary =
        "Give the mail password anew, for example after it was changed. It is tried before it is stored.",
    .run = password_run,
};
