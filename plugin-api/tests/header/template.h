/* The contract of fluxbay @CONTRACT@ in C, for plugins in languages other than Rust.
 *
 * Generated from the Rust tables in `plugin-api/src/abi`: do not edit it, see
 * `docs/changing-the-contract.md`.
 *
 * A plugin is a shared library that exports one object, `const struct fluxbay_entry fluxbay_entry`,
 * and carries its manifest (JSON after a header of 16 bytes) in the section `.fluxbay.manifest`.
 * README.md beside this file explains both, with an example that the tests build.
 *
 * Every function names in brackets the threads that may call it: `[training]` the thread that
 * trains, `[loader]` the threads that prepare batches, `[any]` all. The host calls one function of
 * an instance at a time, except `[loader]` functions. No function of a plugin may unwind or jump
 * out. Memory is freed by the side that allocated it. Text is UTF-8 and borrowed for the call
 * unless a function says otherwise. Functions that return `int32_t` return a `FLUXBAY_` status.
 */
#ifndef FLUXBAY_H
#define FLUXBAY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Version of the contract that this header describes, for `struct fluxbay_entry`. */
#define FLUXBAY_CONTRACT_MAJOR @MAJOR@
#define FLUXBAY_CONTRACT_MINOR @MINOR@

@TABLES@
#ifdef __cplusplus
}
#endif

#endif
