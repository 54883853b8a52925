#include "server-api/contract/evidence.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/json.h"

#include <stdio.h>
#include <string.h>

void evidence_finish(struct evidence *e) {
    cJSON_Delete(e->payload);
    *e = (struct evidence){0};
}

cJSON *evidence_make(const cJSON *receipt_jws, const char *certificate, const char *order,
                     const char *device) {
    cleanup(cJSON) cJSON *document = cJSON_CreateObject();
    if (json_add_item(document, "receipt", cJSON_Duplicate(receipt_jws, true)) < 0 ||
        json_add_str(document, "certificate", certificate) < 0 ||
        json_add_str(document, "order", order) < 0 || json_add_str(document, "device", device) < 0)
        return NULL;
    return steal(document);
}

/* One attribute of the certificate's subject; "" where it is not there, or has a NUL in it. */
static void evidence_subject(X509 *cert, int nid, char *ret, size_t size) {
    int n = X509_NAME_get_text_by_NID(X509_get_subject_name(cert), nid, ret, (int)size);
    if (n < 0 || (size_t)n != strlen(ret))
        ret[0] = '\0';
}

static int evidence_certificate(const cJSON *document, X509 *root, struct evidence *e, X509 **ret) {
    const char *pem = json_str(document, "certificate");
    cleanup(X509) X509 *cert = pem ? cert_from_pem(pem, strlen(pem)) : NULL;
    if (!cert)
        return err_set(ERR_REFUSED, "there is no certificate in it that could be read");
    if (cert_verify_client(cert, root, 0) < 0 || !X509_get0_pubkey(cert))
        return err_set(ERR_REFUSED, "the certificate in it was not issued by this organization's CA");
    evidence_subject(cert, NID_commonName, e->device, sizeof e->device);
    evidence_subject(cert, NID_organizationName, e->organization, sizeof e->organization);
    e->not_before = cert_not_before(cert);
    e->not_after = cert_not_after(cert);
    if (!e->device[0])
        return err_set(ERR_REFUSED, "the certificate in it names no device");
    *ret = steal(cert);
    return 0;
}

/* What the document says around the receipt must be what was signed. */
static int evidence_agrees(const cJSON *document, const struct evidence *e, bool order_json) {
    const char *device = json_str(document, "device"),
               *order = json_str(document, order_json ? "id" : "order"), *kind = json_str(document, "kind"),
               *signed_order = json_str(e->payload, "order"), *signed_kind = json_str(e->payload, "kind");
    if (device && strcmp(device, e->device) != 0)
        return err_set(ERR_REFUSED, "it says device %.64s, and the receipt is of device %s", device,
                       e->device);
    if (order && (!signed_order || strcmp(order, signed_order) != 0))
        return err_set(ERR_REFUSED, "it says order %.64s, and the receipt is of %.64s", order,
                       signed_order ? signed_order : "none");
    if (kind && signed_kind && strcmp(kind, signed_kind) != 0)
        return err_set(ERR_REFUSED, "it says that the order was a %.16s, and the receipt is of a %.16s", kind,
                       signed_kind);
    return 0;
}

static int evidence_read(const cJSON *document, X509 *root, struct evidence *e) {
    const cJSON *jws = json_object(document, "receipt_jws");
    bool order_json = jws != NULL;
    if (!jws)
        jws = json_object(document, "receipt");
    if (!jws)
        return err_set(ERR_REFUSED, "there is no receipt in it");
    cleanup(X509) X509 *cert = NULL;
    int r = evidence_certificate(document, root, e, &cert);
    if (r == 0)
        r = cert_key_fingerprint(root, e->root);
    if (r < 0)
        return r;
    r = receipt_open(jws, X509_get0_pubkey(cert), e->device, &e->result, &e->payload);
    if (r == ERR_SIGNATURE)
        return err_set(
            ERR_REFUSED,
            "the receipt is not what the key of this certificate signed: it was changed, or signed by "
            "another key");
    if (r < 0)
        return r == ERR_SYSTEM ? r : err_set(ERR_REFUSED, "%s", err_text());
    return evidence_agrees(document, e, order_json);
}

int evidence_open(const cJSON *document, X509 *root, struct evidence *ret) {
    struct evidence e = {0};
    int r = evidence_read(document, root, &e);
    if (r < 0) {
        evidence_finish(&e);
        return r;
    }
    *ret = e;
    return 0;
}
