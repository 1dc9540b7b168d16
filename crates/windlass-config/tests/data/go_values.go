// Prints what Go reads texts as, one line for each: type, text, and the value it prints or the
// error, separated by tabs. Run by `go run go_values.go > go_values.tsv`.
package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

var durations = []string{
	"", "0", "-0", "+0", "00", "10", "-", "+", ".", ".s", "-.s", "s", "h1", "1d", "1s ", " 1s", "1 s", "1h ", "3000000h",
	"0s", "5s", "30s", "1478s", "-5s", "+5s", "5.0s", "5.6s", "5.s", ".5s", "1.0s", "1.00s", "1.004s", "1.0040s",
	"100.00100s", "10ns", "11us", "12µs", "12μs", "13ms", "14s", "15m", "16h", "3h30m", "10.5s4m",
	"-2m3.4s", "1h2m3s4ms5us6ns", "39h9m14.425s", "52763797000ns", "0.3333333333333333333h",
	"0.100000000000000000000h", "0.830103483285477580700h", "9007199254740993ns", "9223372036854775807ns",
	"9223372036854775.807us", "9223372036s854ms775us807ns", "-9223372036854775808ns", "-9223372036854775.808us",
	"9223372036854775808ns", "9223372036854775.808us", "-9223372036854775809ns", "9223372036854ms775us808ns",
	"18446744073709551616ns", "-2562047h47m16.854775808s", "2562047h47m16.854775808s", "1h30m", "1.5h", "90s",
	"250ms", "87600h", "100us", "1.2.3s", "1m1", "1sm", "1e3s", "0x1s", "1_0s", "١s", "1\x00s", "1\"s", "1\\s", "1é",
	"0.0000000001s", "1h1h", "59.999999999s", "999ns", "1us1ns", "999.999ms", "--1s", "-+1s", "1H", "1S", "10mins",
}

var integers = []string{
	"", "0", "-0", "+0", "1", "-1", "+1", "--1", "12345", "012345", "08", "0x", "0x0", "0xff", "0XFF", "-0xff", "0b", "0b101",
	"0B1", "0b2", "0o", "0o17", "0O17", "0o8", "1_000", "1__000", "_1", "1_", "0_1", "0x_ff", "0_x1", "0xf_f", "0b1_0", "-_1",
	"-1_0", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809",
	"18446744073709551615", "18446744073709551616", "0x7fffffffffffffff", "-0x8000000000000000", "1e3", "1.0", " 1", "1 ", "ten",
	"01", "0_", "00", "007", "0xg", "+0x10", "٣", "-", "+", "0b_1", "0__1",
}

var floats = []string{
	"", "0", "-0", "+1", "1", "0.5", ".5", "5.", ".", "1e", "1e3", "1E3", "1e+3", "1e-3", "1e23", "1e21", "1e20", "123456789012345678901",
	"100000000000000000000000", "0.0001", "0.00001", "1e-5", "1.7976931348623157e308", "1.7976931348623159e308", "1e400", "5e-324", "1e-400",
	"inf", "-inf", "+Inf", "INFINITY", "infinit", "0x1p0", "0x1.8p1", "0X.8p0", "0x1", "0x1p", "0xp1", "0x1.fffffffffffffp1023",
	"0x1p1024", "0x123456789abcdef01p0", "0x1_0p0", "0x_1p0", "0x1p-1074", "-0x1p-2", "1_000", "1_000.5", "1__0", "_1", "1_", "1_.5", "1._5",
	"1e1_0", "1e_1", "1_e1", "1_23.50_0_0e+1_2", "0x_1_2.3_4_5p+1_2", "1.5.5", "abc", " 1", "1 ", "--1", "+-1", "1f", "0.015", "45", "0.05", "-10.25", "1e0", "0e0",
	"0x1p+10", "0x1e5", "0b1", "0o7", "1p3",
}

var booleans = []string{"1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False", "", "tRUE", "yes", "on", "2", " true"}

func print(kind, text string, value any, err error) {
	outcome := fmt.Sprint("= ", value)
	var number *strconv.NumError
	switch {
	case errors.As(err, &number):
		outcome = "! " + number.Err.Error()
	case err != nil:
		outcome = "! " + err.Error()
	}
	fmt.Printf("%s\t%s\t%s\n", kind, text, outcome)
}

func main() {
	for _, text := range durations {
		value, err := time.ParseDuration(text)
		print("duration", text, value, err)
	}
	for _, text := range integers {
		signed, err := strconv.ParseInt(text, 0, 64)
		print("int", text, signed, err)
		unsigned, err := strconv.ParseUint(text, 0, 64)
		print("uint", text, unsigned, err)
	}
	for _, text := range floats {
		value, err := strconv.ParseFloat(text, 64)
		print("float", text, strconv.FormatFloat(value, 'g', -1, 64), err)
	}
	for _, text := range booleans {
		value, err := strconv.ParseBool(text)
		print("bool", text, value, err)
	}
}
