/* Escaping into JSON, text and HTML: literal expectations for what is hostile in each. */
#include "check.h"

#include "base/alloc.h"
#include "report/out.h"

static void check_out(void (*write)(lhi_out *, const char *), const char *text, const char *wanted)
{
    lhi_out out = {0};
    write(&out, text);
    CHECK(!out.failed);
    CHECK_TEXT(out.data ? out.data : "", wanted);
    lhi_free(out.data);
}

static void test_html(void)
{
    check_out(lhi_out_html, "leaky.sys", "leaky.sys");
    check_out(lhi_out_html, "", "");
    check_out(lhi_out_html, "<b title=\"x\">&'", "&#60;b title=&#34;x&#34;&#62;&#38;&#39;");
    check_out(lhi_out_html, "&amp;", "&#38;amp;");
    check_out(lhi_out_html, "a\x1b[31m\n\x7f", "a\\x1b[31m\\x0a\\x7f");
    check_out(lhi_out_html, "\xc2\x9b", "\\x9b");
    /* Each end of the ranges that turn a line, and their neighbours. */
    check_out(lhi_out_html, "\xd8\x9c\xe2\x80\x8e\xe2\x80\x8f", "\\u061c\\u200e\\u200f");
    check_out(lhi_out_html, "\xe2\x80\xaa\xe2\x80\xae\xe2\x81\xa6\xe2\x81\xa9",
              "\\u202a\\u202e\\u2066\\u2069");
    check_out(lhi_out_html, "\xe2\x80\x90\xe2\x80\xa9\xe2\x80\xaf\xe2\x81\xaa",
              "\xe2\x80\x90\\u2029\xe2\x80\xaf\\u206a");
    check_out(lhi_out_html, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    check_out(lhi_out_html, "\xff<\xe2\x80", "\\xff&#60;\\xe2\\x80");
}

static void test_safe(void)
{
    check_out(lhi_out_safe, "a<&\"'", "a<&\"'");
    check_out(lhi_out_safe, "\x1b]0;x\x07\t", "\\x1b]0;x\\x07\\x09");
    check_out(lhi_out_safe, "\xc2\x85\xc2\xa0", "\\x85\xc2\xa0");
    check_out(lhi_out_safe, "\xed\xa0\x80", "\\xed\\xa0\\x80");
}

static void test_json(void)
{
    check_out(lhi_out_json_string, "a\"\\\n\x7f\xc2\x9b", "\"a\\\"\\\\\\u000a\\u007f\\u009b\"");
    check_out(lhi_out_json_string, "\xc0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\"");
}

int main(void)
{
    test_html();
    test_safe();
    test_json();
    return CHECK_END();
}
