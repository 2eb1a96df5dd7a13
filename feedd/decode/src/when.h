/* RFC 3339 times ("2026-04-07T14:30:00.123456Z") to nanoseconds since the Unix epoch. */
#ifndef FEEDD_WHEN_H
#define FEEDD_WHEN_H

#include <stddef.h>
#include <stdint.h>

static inline int fd_two_digits(const uint8_t *p) {
    const unsigned a = p[0] - '0', b = p[1] - '0';
    return a < 10 && b < 10 ? (int)(a * 10 + b) : -1;
}

/* Days since 1970-01-01 of a date of the Gregorian calendar (years 1 to 9999). */
static inline int64_t fd_days(int64_t y, int m, int d) {
    y -= m <= 2;
    const int64_t era = y / 400, yoe = y - era * 400;
    const int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

/* 1: *out is the time; 2: a time that int64 nanoseconds do not hold (out is 0); 0: not a time.
 * Between date and time stands T, t or a space; digits of the second behind the ninth are cut; a
 * leap second is the second after it; a time before 1970 stands for none (out is 0). */
static int fd_rfc3339(const uint8_t *p, size_t n, int64_t *out) {
    static const uint8_t month_days[12] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    *out = 0;
    if (n < 20 || p[4] != '-' || p[7] != '-' || p[13] != ':' || p[16] != ':') return 0;
    if ((p[10] | 0x20) != 't' && p[10] != ' ') return 0;
    const int century = fd_two_digits(p), year2 = fd_two_digits(p + 2);
    const int month = fd_two_digits(p + 5), day = fd_two_digits(p + 8);
    const int hour = fd_two_digits(p + 11), minute = fd_two_digits(p + 14);
    const int second = fd_two_digits(p + 17);
    const int year = century * 100 + year2;
    if (century < 0 || year2 < 0 || year < 1 || month < 1 || month > 12 || day < 1 || hour < 0 ||
        hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60)
        return 0;
    const int leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (day > month_days[month - 1] || (month == 2 && day == 29 && !leap)) return 0;
    size_t i = 19;
    int64_t ns = 0;
    if (p[i] == '.') {
        int digits = 0;
        for (i++; i < n && (uint8_t)(p[i] - '0') < 10; i++, digits++)
            if (digits < 9) ns = ns * 10 + (p[i] - '0');
        if (digits == 0) return 0;
        for (; digits < 9; digits++) ns *= 10;
    }
    int64_t offset = 0;
    if (i + 1 == n && (p[i] | 0x20) == 'z') {
    } else if (i + 6 == n && (p[i] == '+' || p[i] == '-') && p[i + 3] == ':') {
        const int h = fd_two_digits(p + i + 1), m = fd_two_digits(p + i + 4);
        if (h < 0 || h > 23 || m < 0 || m > 59) return 0;
        offset = (h * 60 + m) * 60 * (p[i] == '-' ? -1 : 1);
    } else {
        return 0;
    }
    const int64_t s = fd_days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset;
    if (s < 0) return 1;
    if (s > 9223372035ll) return 2;
    *out = s * 1000000000ll + ns;
    return 1;
}

#endif
