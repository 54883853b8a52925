/*
 * GET /enroll/CODE: what a person sees who opens the link in a browser. The answer is the same for every
 * code: it neither uses one up nor says whether it is good. The fragment is known to the browser alone, so
 * the command is put together there, by a script that the policy names by its hash; it shows the address only
 * where that is a well-formed link, as text.
 */
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "server-api/server/endpoint/app.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>

#define PAGE_SCRIPT                                                                                          \
    "const link = location.href;\n"                                                                          \
    "if (/^https:\\/\\/[A-Za-z0-9.:\\[\\]-]+\\/enroll\\/[A-Za-z0-9_-]{32}#[A-Za-z0-9_-]{43}$/.test(link))\n" \
    "{\n  document.getElementById('command').textContent = \"satchel enroll '\" + link + \"'\";\n"           \
    "  document.getElementById('hint').remove();\n}\n"

static const char page_head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Satchel</title>\n"
    "<meta name=\"viewport\" content=\"width=device-width\"></head><body>\n"
    "<h1>Set up your work mail</h1>\n"
    "<p>This link makes your computer ready for the company's mail. It works once.</p>\n"
    "<ol>\n<li>Install Satchel, as your company told you.</li>\n"
    "<li>Open a terminal and run:<pre id=\"command\">satchel enroll 'LINK'</pre>\n"
    "<span id=\"hint\">where LINK is the whole address of this page, with everything behind the # "
    "sign.</span></li>\n"
    "<li>Type your mail password when you are asked for it. Nobody but your mail server gets "
    "it.</li>\n</ol>\n"
    "<p>Satchel touches only what it made itself. <code>satchel leave</code> takes it off "
    "again.</p>\n<script>";

int app_prepare(struct app *app) {
    unsigned char digest[SHA256_DIGEST_LENGTH], text[64];
    (void)SHA256((const unsigned char *)PAGE_SCRIPT, strlen(PAGE_SCRIPT), digest);
    (void)EVP_EncodeBlock(text, digest, sizeof digest);
    (void)snprintf(app->enroll_policy, sizeof app->enroll_policy,
                   "default-src 'none'; script-src 'sha256-%s'; base-uri 'none'; form-action 'none'; "
                   "frame-ancestors 'none'",
                   (const char *)text);
    return 0;
}

int endpoint_enroll_page(struct http_request *r) {
    struct buf page = {0};
    int e = buf_add_str(&page, page_head);
    if (e == 0)
        e = buf_add_str(&page, PAGE_SCRIPT "</script>\n</body></html>\n");
    if (e < 0) {
        buf_finish(&page);
        return e;
    }
    size_t size = page.len;
    r->answer.policy = app_of(r)->enroll_policy;
    return http_answer(r, 200, "text/html; charset=utf-8", buf_steal(&page), size);
}
