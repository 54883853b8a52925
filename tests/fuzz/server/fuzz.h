/* The entry point of a libFuzzer harness. */
#ifndef SATCHEL_TESTS_FUZZ_SERVER_H
#define SATCHEL_TESTS_FUZZ_SERVER_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
