/* The frame functions against hostile bytes: a libFuzzer target, and a driver without it.
 *
 * clang: -fsanitize=fuzzer,address,undefined -DLIBFUZZER. Without LIBFUZZER the program mutates
 * the valid frames of frames.h `argv[1]` times with a fixed random sequence, so that it runs
 * everywhere and fails the same way twice. Input: station, host port, wire excess, lead, vnet
 * (10 bytes), then the frame. IPv4 checksums are repaired every other time, since random bytes
 * would hardly ever get past them.
 */
#include "exercise.h"
#include "frames.h"

enum { CONTROL = 4, INPUT_MAX = 4096 };

static void repair_checksum(uint8_t *frame, size_t length)
{
    if (length < 34 || frame[12] != 8 || frame[13] != 0)
        return;
    size_t header = (size_t)(frame[14] & 15) * 4;
    if (header < 20 || length < 14 + header)
        return;
    frame[24] = frame[25] = 0;
    uint16_t check = checksum_finish(checksum_partial(frame + 14, (uint32_t)header, 0));
    memcpy(frame + 24, &check, 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t frame[INPUT_MAX];
    if (size < CONTROL + VNET_LENGTH || size > INPUT_MAX)
        return 0;
    struct vnet_header vnet;
    memcpy(&vnet, data + CONTROL, VNET_LENGTH);
    size_t length = size - CONTROL - VNET_LENGTH;
    memcpy(frame, data + CONTROL + VNET_LENGTH, length);
    if (data[1] & 2)
        repair_checksum(frame, length);
    exercise(frame, (uint32_t)length, (uint32_t)length + data[2] * 16u, &vnet, data[0] & 7,
             data[1] & 1, data[3] & 3);
    return 0;
}

#ifndef LIBFUZZER
static size_t mutate(uint8_t *input, const struct shape *s, uint64_t *random)
{
    memset(input, 0, CONTROL);
    uint64_t dice = next_random(random);
    input[0] = dice % 4 == 0 ? (uint8_t)(dice >> 8 & 3) : 0;
    input[1] = (uint8_t)(dice >> 16 & 3);
    input[2] = dice % 5 == 0 ? (uint8_t)(dice >> 24) : 0;
    input[3] = (uint8_t)(dice >> 32);
    memcpy(input + CONTROL, &s->vnet, VNET_LENGTH);
    memcpy(input + CONTROL + VNET_LENGTH, s->bytes, s->length);
    size_t size = CONTROL + VNET_LENGTH + s->length;
    for (uint64_t n = next_random(random) % 6; n > 0; n--) {
        uint64_t r = next_random(random);
        /* Headers are where the decisions are: half of the changes go to the first 80 bytes. */
        size_t at = CONTROL + (r >> 8) % ((r & 128) && size > 84 ? 80 : size - CONTROL);
        switch (r & 3) {
        case 0: input[at] = (uint8_t)(r >> 40); break;
        case 1: input[at] ^= (uint8_t)(1u << (r >> 40 & 7)); break;
        case 2: input[at] = (r >> 40 & 1) ? 0xff : 0; break;
        default: size -= (r >> 40) % (size - CONTROL - VNET_LENGTH + 1); break;
        }
        if (size <= CONTROL + VNET_LENGTH)
            break;
    }
    return size;
}

int main(int argc, char **argv)
{
    static struct shape shapes[SHAPES];
    static uint8_t input[CONTROL + VNET_LENGTH + SHAPE_ROOM];
    long rounds = argc > 1 ? atol(argv[1]) : 10000;
    uint64_t random = 0x2545f4914f6cdd1du;
    build_frames(shapes);
    for (long i = 0; i < rounds; i++) {
        size_t size = mutate(input, &shapes[i % SHAPES], &random);
        LLVMFuzzerTestOneInput(input, size);
    }
    return 0;
}
#endif
