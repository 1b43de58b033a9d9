// Opens a report in a headless Chromium without a network, and says how large it is, when it first paints and when its curves are drawn:
//
//     NODE_PATH=.../node_modules node tests/benches/report_page.js CHROMIUM report.html [PICTURES]
//
// Needs the package `puppeteer-core`. Ends with an error if the page writes an error to the console, requests anything, or is wider than
// the window at 400, 1000 or 1600 pixels, light or dark. With PICTURES, a folder, a picture of the whole page is left there for each, and
// the printed page as a PDF.
const fs = require("node:fs");
const path = require("node:path");
const puppeteer = require("puppeteer-core");

const [browserPath, page, pictures] = process.argv.slice(2);
const wait = time => new Promise(done => setTimeout(done, time));
const median = values => values.sort((one, other) => one - other)[Math.floor(values.length / 2)];

(async () => {
  const browser = await puppeteer.launch({ executablePath: browserPath, headless: "shell", args: ["--no-sandbox", "--allow-file-access-from-files"] });
  const problems = [];
  const open = async (width, theme) => {
    const tab = await browser.newPage();
    tab.on("console", message => ["error", "warn"].includes(message.type()) && problems.push(message.text()));
    tab.on("pageerror", error => problems.push(error.message));
    tab.on("request", request => /^(file|data):/.test(request.url()) || problems.push(`requests ${request.url()}`));
    await tab.setOfflineMode(true);
    await tab.setViewport({ width, height: 900 });
    await tab.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }]);
    await tab.goto(`file://${path.resolve(page)}`);
    await wait(500);
    return tab;
  };
  const paints = [], loads = [];
  for (let round = 0; round < 5; round++) {
    const tab = await open(1000, "light");
    const [paint, load] = await tab.evaluate(() => [performance.getEntriesByName("first-contentful-paint")[0].startTime, performance.getEntriesByType("navigation")[0].loadEventEnd]);
    paints.push(paint);
    loads.push(load);
    await tab.close();
  }
  console.log(`${(fs.statSync(page).size / 1e6).toFixed(2)} MB, first paint ${median(paints).toFixed(0)} ms, loaded ${median(loads).toFixed(0)} ms (medians of 5)`);
  for (const width of [400, 1000, 1600]) for (const theme of ["light", "dark"]) {
    const tab = await open(width, theme);
    if (await tab.evaluate(() => document.documentElement.scrollWidth > innerWidth)) problems.push(`is wider than ${width} pixels`);
    if (pictures) {
      // Charts are drawn as they come into view.
      await tab.evaluate(async () => {
        for (let y = 0; y < document.body.scrollHeight; y += 600) { scrollTo(0, y); await new Promise(done => setTimeout(done, 60)); }
        scrollTo(0, 0);
      });
      const height = Math.min(16000, await tab.evaluate(() => document.documentElement.scrollHeight));
      await tab.setViewport({ width, height });
      await wait(500);
      await tab.screenshot({ path: path.join(pictures, `${width}-${theme}.png`) });
      if (width === 1000 && theme === "light") await tab.pdf({ path: path.join(pictures, "print.pdf"), format: "A4" });
    }
    await tab.close();
  }
  await browser.close();
  if (problems.length) { console.error([...new Set(problems)].join("\n")); process.exit(1); }
})();
