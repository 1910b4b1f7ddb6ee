/* The style sheet of the HTML view: readable in light and dark, on a page of its own and inside a notebook.
 */
#include "report/report.h"

/* Two sets of colours. Text and ground always come from the same set, or both from the notebook's theme, so
 * that they can't meet crosswise; contrast is at least 4.5 to 1 in each (WCAG 2.2, 1.4.3). */
#define LIGHT                                                                                                \
    "--lh-dim:#57606a;--lh-line:#d0d7de;--lh-soft:#f3f5f7;--lh-named:#b3261e;--lh-open:#825500;"             \
    "--lh-whole:#1a6e37;"
#define DARK                                                                                                 \
    "--lh-dim:#9ba6b2;--lh-line:#3d444d;--lh-soft:#212830;--lh-named:#ff9b91;--lh-open:#e8b84a;"             \
    "--lh-whole:#6cc98a;"
#define LIGHT_GROUND                                                                                         \
    "--lh-text:var(--jp-content-font-color1,#1f2328);--lh-ground:var(--jp-layout-color0,#ffffff);"
#define DARK_GROUND                                                                                          \
    "--lh-text:var(--jp-content-font-color1,#e6edf3);--lh-ground:var(--jp-layout-color0,#15191e);"

/* The reader's preference decides, and a notebook's theme is stronger than that: these attributes and classes
 * are JupyterLab's and Visual Studio Code's. */
static const char colours[] =
    ".lockhound{" LIGHT LIGHT_GROUND "}"
    "@media (prefers-color-scheme:dark){.lockhound{" DARK DARK_GROUND "}}"
    "[data-jp-theme-light=true] .lockhound,.vscode-light .lockhound{" LIGHT LIGHT_GROUND "}"
    "[data-jp-theme-light=false] .lockhound,.vscode-dark .lockhound{" DARK DARK_GROUND "}";

static const char shapes[] =
    ".lockhound{box-sizing:border-box;max-width:70rem;padding:1rem 1.25rem;color:var(--lh-text);"
    "background:var(--lh-ground);font:15px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}"
    ".lockhound p{margin:.4rem 0;max-width:48rem}.lockhound p.dim{max-width:none}"
    ".lockhound h2{margin:.6rem 0 .2rem;font-size:1.5rem;line-height:1.25}"
    ".lockhound h3{margin:1.4rem 0 .4rem;font-size:1.05rem}"
    ".lockhound .named{color:var(--lh-named)}.lockhound .open{color:var(--lh-open)}"
    ".lockhound .whole{color:var(--lh-whole)}.lockhound .dim{color:var(--lh-dim)}"
    ".lockhound ul{margin:.4rem 0;padding-left:1.2rem}"
    ".lockhound code{font:.87em/1.5 ui-monospace,monospace;color:inherit;background:none}"
    ".lockhound .sure{display:inline-block;margin-left:.6rem;font-size:.95rem;font-weight:400;"
    "color:var(--lh-dim)}"
    ".lockhound .wide{overflow-x:auto;overflow-wrap:normal}"
    ".lockhound table{width:auto;margin:.3rem 0;border:0;border-collapse:collapse;font-size:.93rem;"
    "color:inherit}"
    ".lockhound th,.lockhound td{padding:.3rem 1.2rem .3rem 0;border:0;border-bottom:1px solid "
    "var(--lh-line);"
    "text-align:left;vertical-align:top;background:none}"
    ".lockhound th{font-weight:600;color:var(--lh-dim);white-space:nowrap}"
    ".lockhound td code{white-space:nowrap}.lockhound td.number,.lockhound th.number{text-align:right}"
    ".lockhound td:last-child:not(.number){min-width:11rem}"
    /* Where it is narrow, a step is a line with object and address, and what was found below it. */
    "@media (max-width:40rem){.lockhound .steps thead{display:none}.lockhound .steps tr{display:block;"
    "padding:.3rem 0;border-bottom:1px solid var(--lh-line)}.lockhound .steps td{display:inline-block;"
    "padding:0 .8rem 0 0;border:0}.lockhound .steps td:last-child{display:block}}"
    ".lockhound .listing td{padding:.05rem 1.2rem .05rem .4rem;border:0}"
    ".lockhound .listing .marked td{background:var(--lh-soft);font-weight:600}"
    ".lockhound details{margin:.5rem 0;border:1px solid var(--lh-line);border-radius:6px}"
    ".lockhound summary{padding:.45rem .8rem;cursor:pointer;font-weight:600}"
    ".lockhound details>div{padding:0 .8rem .6rem}"
    ".lockhound .commands code{display:block;padding:.15rem .5rem;background:var(--lh-soft);"
    "border-radius:4px;white-space:pre-wrap}"
    ".lockhound .commands span{display:block;margin:.1rem 0 .5rem .5rem;color:var(--lh-dim);font-size:.9rem}";

/* Around the one block of a page of its own. */
static const char page_shapes[] =
    "html{background:#ffffff}@media (prefers-color-scheme:dark){html{background:#15191e}}"
    "body{margin:0;display:flex;justify-content:center}body>.lockhound{flex:1;min-width:0}"
    "@media print{.lockhound details>div{display:block}}";

void lhi_report_style(lhi_out *out, bool page)
{
    lhi_out_raw(out, "<style>");
    lhi_out_raw(out, colours);
    lhi_out_raw(out, shapes);
    if (page)
        lhi_out_raw(out, page_shapes);
    lhi_out_raw(out, "</style>\n");
}
