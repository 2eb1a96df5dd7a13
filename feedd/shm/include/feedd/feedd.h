/* feedd.h - the shared memory of feedd for C, C++ and bindings: include this one file.
 *
 *   layout.h   every byte that two processes share: header page, records, board row, book block
 *   order.h    how a shared word may be touched: word accesses, fences, test hooks
 *   ring.h     publish and read records (one writer, any number of readers)
 *   seqlock.h  board rows and books
 *   wait.h     sleep until a record comes (Linux futex), and the wake of the writer
 *
 * docs/ring-protocol.md has the reasons and the proofs. Plain C11 with the __atomic builtins of GCC
 * and Clang; little-endian 64-bit Linux.
 */
#ifndef FEEDD_FEEDD_H
#define FEEDD_FEEDD_H

#include "layout.h"
#include "order.h"
#include "ring.h"
#include "seqlock.h"
#include "wait.h"

#endif
