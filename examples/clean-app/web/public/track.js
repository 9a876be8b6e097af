// Shows the parcel that the address names: track.html#ABC123.
const state = document.getElementById("state");

function show() {
  state.textContent = "Parcel " + decodeURIComponent(window.location.hash.slice(1));
}

window.addEventListener("hashchange", show);
show();
