/* The plan, over every combination of facts: it always ends, in an order that can be carried out. */
#include "agent/reconcile/plan.h"
#include "tests/unit/cm.h"

#include <string.h>

static struct plan_facts from_bits(unsigned bits) {
    return (struct plan_facts){.managed = bits & 1,
                               .profile = bits & 2,
                               .credential = bits & 4,
                               .vault_exists = bits & 8,
                               .vault_open = bits & 16,
                               .mail_running = bits & 32,
                               .mail_current = bits & 64};
}

static void take(struct plan_facts *f, enum plan_step step) {
    switch (step) {
    case PLAN_STOP_MAIL:
        f->mail_running = f->mail_current = false;
        break;
    case PLAN_CLOSE_VAULT:
        assert_false(f->mail_running); /* nobody of ours may hold files */
        f->vault_open = false;
        break;
    case PLAN_CREATE_VAULT:
        assert_false(f->vault_exists);
        f->vault_exists = true;
        break;
    case PLAN_OPEN_VAULT:
        assert_true(f->vault_exists);
        assert_false(f->vault_open);
        f->vault_open = true;
        break;
    case PLAN_START_MAIL:
        assert_true(f->vault_open);
        assert_true(f->credential);
        f->mail_running = f->mail_current = true;
        break;
    case PLAN_STEPS:
        fail();
    }
}

static void every_plan_leads_to_the_wish(void **state) {
    (void)state;
    for (unsigned bits = 0; bits < 128; bits++) {
        struct plan_facts f = from_bits(bits);
        enum plan_step steps[PLAN_STEPS];
        size_t n = plan_reconcile(&f, steps);
        for (size_t i = 0; i < n; i++)
            take(&f, steps[i]);
        assert_int_equal(plan_reconcile(&f, steps), 0);
        if (!f.managed) {
            assert_false(f.mail_running);
            assert_false(f.vault_open);
        } else if (f.profile && f.credential) {
            assert_true(f.mail_running && f.mail_current && f.vault_open);
        }
    }
}

static void steps_have_names(void **state) {
    (void)state;
    for (int s = 0; s < PLAN_STEPS; s++)
        assert_true(strlen(plan_step_name((enum plan_step)s)) > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_plan_leads_to_the_wish),
                                       cmocka_unit_test(steps_have_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
